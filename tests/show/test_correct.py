"The panels do what was clicked, say it in words, and refuse in words what does not fit."
import re

import numpy as np
import pytest

from cryoseg.base.files import VolumeError
from cryoseg.base.volume import Volume
from cryoseg.result.records import Contour, Edit, Link
from cryoseg.show.correct import MODES, LinkPanel, SliceDrawing, in_order_of_doubt, link_words, mode_named, sentence
from cryoseg.run.review import Found


class Paper:
    "A review without a run: it writes down what it was asked."
    def __init__(self):
        self.shape, self.folder = (6, 20, 30), __import__('pathlib').Path('toy')
        self.membranes = np.zeros(self.shape, np.uint16)
        self.membranes[:, 8:10, 5:25] = 4
        self.fragments = self.membranes.astype(np.int32)*2
        self.image = Volume(np.random.default_rng(0).normal(size=self.shape).astype(np.float32), 10.)
        self.frame, self.links, self.edits, self.asked = self.image, [], [], []

    def at(self, zyx):
        zyx = tuple(int(round(v)) for v in zyx)
        return Found(zyx, zyx[::-1], int(self.fragments[zyx]), int(self.membranes[zyx]), '', 0.)

    def _ask(self, kind, *places):
        if kind == 'drop' and not self.fragments[tuple(int(v) for v in places[0])]: raise VolumeError('click on a fragment')
        self.asked.append((kind, places))
        return Edit(kind, 0., 0., 0., fragment_a=8, fragment_b=8)

    def __getattr__(self, name):
        if name in ('join', 'split', 'drop', 'keep', 'rename', 'region', 'anchor', 'move_anchor'): return lambda *given: self._ask(name, *given)
        raise AttributeError(name)

    def anchors(self, z, id): return [(0, 9., 10., 'on')] if any(kind == 'anchor' for kind, _ in self.asked) else []
    def boxes(self): return [('membrane', np.array([(2, 3), (5, 12), (3, 20)]))]
    def contour(self, z, id): return Contour(id, z, 'open', points=np.array([(9., x) for x in range(5, 25)]), sigma=np.ones(20), extrapolated=np.zeros(20, bool))
    def settled(self): return set()
    def intensities(self): raise VolumeError('mark more')
    def decide(self, link, join): return self._ask('join' if join else 'cut', link.link_id)


@pytest.fixture
def paper(): return Paper()


@pytest.fixture
def panel(paper):
    made = SliceDrawing(paper, lambda: paper.asked.append('changed'))
    made.position.value = 2
    return made


def words(panel): return re.sub('<[^>]+>', '', panel.message.value)


def send(panel, kind, y, x, **more): panel.picture.event = dict(kind=kind, y=float(y), x=float(x), n=id(object()), **more)


def test_a_click_says_what_lies_there(panel, paper):
    send(panel, 'click', 8, 10)
    assert 'x 10, y 8, z 2: membrane 4, fragment 8' in words(panel) and paper.asked == []
    panel.axis.value = 'x'
    panel.position.value = 12
    send(panel, 'click', 9, 3)                          # rows are y, columns z
    assert 'x 12, y 9, z 3: membrane 4' in words(panel)


@pytest.mark.parametrize('name', ['join', 'split'])
def test_two_clicks_make_a_decision(panel, paper, name):
    panel.mode.value = name
    send(panel, 'click', 8, 6)
    assert 'Now the second place' in words(panel) and paper.asked == []
    first = panel.picture.png
    panel.position.value = 3                            # the second may lie in another slice
    send(panel, 'click', 9, 20)
    assert paper.asked == [(name, ((2, 8, 6), (3, 9, 20))), 'changed'] and panel.places == [] and panel.picture.png != first


def test_another_mode_forgets_the_first_place(panel, paper):
    panel.mode.value = 'join'
    send(panel, 'click', 8, 6)
    panel.mode.value = 'look'
    send(panel, 'click', 8, 7)
    assert paper.asked == []


def test_what_does_not_fit_is_said_as_an_alert(panel, paper):
    panel.mode.value = 'drop'
    send(panel, 'click', 1, 1)
    assert 'role="alert"' in panel.message.value and 'click on a fragment' in words(panel) and paper.asked == []


def test_names_are_typed_and_escaped(panel, paper):
    panel.mode.value = 'rename'
    assert panel.extra.children == (panel.name,)
    panel.name.value = '<script>x</script>'
    send(panel, 'click', 8, 6)
    assert paper.asked[0] == ('rename', ((2, 8, 6), '<script>x</script>'))
    assert '<script>' not in panel.message.value


def test_anchors_are_set_and_dragged(panel, paper):
    panel.axis.value = 'y'
    panel.mode.value = 'anchor'
    assert panel.axis.value == 'z'                      # contours lie in slices
    panel.position.value = 2
    panel.side.value = 'outside'
    send(panel, 'click', 12, 10)
    assert paper.asked[0] == ('anchor', ((2, 12, 10), 'outside', 4)) and panel.membrane == 4
    send(panel, 'drag', 9, 11, y2=7., x2=12.)
    assert paper.asked[2] == ('move_anchor', (0, (2, 7., 12.)))
    send(panel, 'drag', 1, 29, y2=7., x2=12.)
    assert 'no anchor lies where the drag began' in words(panel)


def test_regions_are_dragged(panel, paper):
    panel.mode.value = 'region'
    panel.label.value = 'protein'
    before = panel.picture.png
    send(panel, 'click', 3, 4)
    assert paper.asked == []
    send(panel, 'drag', 3, 4, y2=9., x2=14.)
    assert paper.asked[0] == ('region', ((2, 3, 4), (2, 9., 14.), 'protein')) and 'No intensity model yet: mark more' in words(panel)
    panel.position.value = 4                            # the box that there is lies in slice 2
    assert panel.picture.png != before


def test_keys_turn_the_slices(panel):
    for key, at in (('PageUp', 3), ('PageUp', 4), ('PageUp', 5), ('PageUp', 5), ('PageDown', 4)):
        send(panel, 'key', 0, 0, key=key)
        assert panel.position.value == at and f'z = {at}' in panel.picture.alt


def test_every_mode_has_its_words():
    assert len({mode.name for mode in MODES}) == len(MODES) and all(mode.says.endswith('.') and mode.n_places in (1, 2) for mode in MODES)
    assert mode_named('split').n_places == 2
    for kind in ('join', 'cut', 'split', 'drop', 'keep', 'rename', 'anchor', 'region', 'melt'):
        assert sentence(Edit(kind, 1., 2., 3., value='on'), Volume(np.zeros((1, 1, 1)), 10.)).endswith('at x 1, y 2, z 3 Å')


LINKS = [Link(n, 8, None, 8, None, 100., 85., 20., distance_A=30., probability=p, taken=taken, rule=rule)
         for n, p, taken, rule in ((1, .99, True, 'gap3d'), (2, .55, True, 'gap3d'), (3, .4, False, 'gap3d'), (4, .5, True, 'user'))]


def test_the_doubtful_come_first():
    assert [link.link_id for link in in_order_of_doubt(LINKS)] == [2, 3, 1]
    assert 'has joined' in link_words(LINKS[0]) and 'has not joined' in link_words(LINKS[2]) and '0.55' in link_words(LINKS[1])


def test_joins_are_answered_by_key_and_button(paper):
    paper.links = LINKS
    panel = LinkPanel(paper, lambda: None)
    assert 'Join 1 of 3' in panel.text.value
    panel.picture.event = dict(kind='key', key='n', n=1)
    assert paper.asked == [('cut', (2,))] and 'Join 2 of 3' in panel.text.value
    panel.buttons['y'].click()
    panel.buttons['s'].click()
    assert paper.asked[1:] == [('join', (3,))] and 'Join 3 of 3' in panel.text.value
    panel.buttons['b'].click()
    panel.picture.event = dict(kind='click', x=1., y=1., n=2)       # a click answers nothing
    assert 'Join 2 of 3' in panel.text.value and len(paper.asked) == 2
    assert 'orange' in panel.picture.alt


def test_without_joins_there_is_nothing_to_answer(paper):
    panel = LinkPanel(paper, lambda: None)
    panel.answer('y')
    assert all(button.disabled for button in panel.buttons.values()) and 'No two fragments' in panel.text.value and paper.asked == []


def test_two_clicks_mark_a_region_too(panel, paper):
    "Keys can click, and cannot drag."
    panel.mode.value = 'region'
    send(panel, 'click', 3, 4)
    assert 'Now the second place' in words(panel) and paper.asked == []
    send(panel, 'click', 9, 14)
    assert paper.asked[0] == ('region', ((2, 3, 4), (2, 9, 14), 'background'))


def test_places_are_told_in_voxels_where_no_size_is_known():
    frame = Volume(np.zeros((1, 1, 1)), 1., voxel_size_known=False)
    assert sentence(Edit('drop', 1., 2., 3.), frame).endswith('z 3 voxels')


def test_a_decision_that_is_refused_is_said_and_the_join_stays(paper):
    paper.links = LINKS
    panel = LinkPanel(paper, lambda: paper.asked.append('changed'))

    def refuse(link, join): raise VolumeError('edits.csv was changed by another hand')
    paper.decide = refuse
    panel.answer('y')
    assert 'another hand' in panel.message.value and 'role="alert"' in panel.message.value
    assert 'Join 1 of 3' in panel.text.value and paper.asked == []
