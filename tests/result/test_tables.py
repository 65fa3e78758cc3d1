"""Tables: what is written comes back equal, whatever the values; what a person broke is named."""
from dataclasses import fields
from typing import get_args, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryoseg.base.files import VolumeError
from cryoseg.base.volume import Volume
from cryoseg.result.records import Contour, ContourPoint, Edit, Fragment, Link, Membrane, Section, Surface
from cryoseg.result.tables import columns, read_contours, read_rows, rounded, with_contour, with_surface, write_contours, write_rows

KINDS = [Fragment, Link, Membrane, Edit, Section, ContourPoint]
TEXT = st.text(st.characters(blacklist_categories=('Cs', 'Cc')), max_size=30).map(str.strip)


def values(hint):
    "A strategy of the values that a field may have."
    kinds = get_args(hint) or (hint,)
    made = {int: st.integers(-10**6, 10**6), float: st.floats(-1e12, 1e12), bool: st.booleans(), str: TEXT, type(None): st.none()}
    return st.one_of(*[made[k] for k in kinds])


def records(kind):
    "A strategy of records of a class."
    hints = get_type_hints(kind)
    return st.builds(kind, **{f.name: values(hints[f.name]) for f in fields(kind)})


@pytest.mark.parametrize('kind', KINDS, ids=lambda k: k.__name__)
def test_any_record_comes_back_equal(kind, tmp_path):
    @given(st.lists(records(kind), max_size=4))
    def check(rows):
        write_rows(tmp_path/'t.csv', rows, kind)
        back = read_rows(tmp_path/'t.csv', kind)
        assert back == [rounded(r) for r in rows]
        write_rows(tmp_path/'u.csv', back, kind)
        assert (tmp_path/'u.csv').read_bytes() == (tmp_path/'t.csv').read_bytes()         # and once more, to the byte
    check()


def test_the_columns_are_the_interface():
    "Names that other programs read: more may come, none may go or be called otherwise."
    assert columns(Link)[:5] == ('link_id', 'fragment_a', 'end_a', 'fragment_b', 'end_b')
    assert set(columns(Link)) >= set('x_A y_A z_A distance_A angle_a_deg angle_b_deg curvature_difference_per_A cost probability taken rule reason'.split())
    assert columns(Fragment) == tuple('fragment_id z n_voxels membrane_id centre_x_A centre_y_A centre_z_A end1_x_A end1_y_A end2_x_A end2_y_A'.split())
    old = ('id n_voxels status reason centre_x_A centre_y_A centre_z_A area_A2 area_sd_A2 volume_A3 volume_sd_A3 mean_sigma_A confidence method '
           'area_outside_A2 area_outside_sd_A2 volume_outside_A3 volume_outside_sd_A3 diameter_A diameter_sd_A mean_curvature_per_A mean_curvature_sd_per_A')
    assert columns(Membrane)[:22] == tuple(old.split())
    assert columns(ContourPoint) == tuple('membrane_id z point x_A y_A sigma_A extrapolated method'.split())


@pytest.mark.parametrize('text, names', [
    ('taken,link_id,fragment_a,end_a,fragment_b,end_b\n0,1,two,,3,\n', ('line 2', 'fragment_a', "'two'", 'whole number')),
    ('taken,link_id,fragment_a,end_a,fragment_b,end_b,cost\n0,1,2,,3,,dear\n', ('line 2', 'cost', "'dear'")),
    ('link_id,fragment_a,end_a,fragment_b,end_b,taken\n1,2,,3,,\n', ('line 2', 'taken')),
    ('fragment_a\n4\n', ('line 1', 'link_id')),
    ('link_id,fragment_a,end_a,fragment_b,end_b,taken\n\n1,2,,3,,2\n', ('line 3', "taken = '2'", '0 or 1')),
    ('taken,link_id,fragment_a,end_a,fragment_b,end_b\n0,1,2,\n', ('line 2', '4 cells', 'cut short')),
    ('taken,link_id,fragment_a,end_a,fragment_b,end_b\n0,1,2,,\n', ('line 2', 'fragment_b', 'whole number')),
    ('link_id,fragment_a,end_a,fragment_b,end_b,taken\n1,2,,3,\n', ('line 2', '5 cells', 'cut short')),
    ('taken,link_id,fragment_a,end_a,fragment_b,end_b,x_A\n0,1,2,,3,,1.5\n0,1,2,,3', ('line 3', '5 cells', 'cut short')),
    ('taken,link_id,fragment_a,end_a,fragment_b,end_b,reason\n0,1,2,,3,,"open\n', ('quotation mark',)),
    ('taken,link_id,fragment_a,end_a,fragment_b,end_b,reason\n0,1,2,,3,,' + 'x'*200000 + '\n', ('field larger',)),
    ('taken,link_id,fragment_a,end_a,fragment_b,end_b,cost\n0,1,2,,3,,1e999\n', ('line 2', 'cost', 'finite')),
    ('taken,link_id,fragment_a,end_a,fragment_b,end_b\n0,' + '9'*5000 + ',2,,3,\n', ('line 2', 'link_id')),
    ('taken,link_id,fragment_a,end_a,fragment_b,end_b\n0,1_0,2,,3,\n', ('line 2', 'link_id')),
    ('taken,link_id,link id,fragment_a,end_a,fragment_b,end_b\n0,1,1,2,,3,\n', ('line 1', 'link_id stands there twice')),
    ('1,2,,3,\n', ('line 1', 'names the columns', 'link_id')),
])
def test_what_makes_no_sense_is_named(text, names, tmp_path):
    (tmp_path/'links.csv').write_text(text)
    with pytest.raises(VolumeError) as error: read_rows(tmp_path/'links.csv', Link)
    for name in (*names, 'links.csv'): assert name in str(error.value)


def test_separators_that_a_spreadsheet_left_out(tmp_path):
    (tmp_path/'links.csv').write_text('taken,link_id,fragment_a,end_a,fragment_b,end_b,x_A,rule\n0,1,2,,3\n')
    assert read_rows(tmp_path/'links.csv', Link) == [Link(1, 2, None, 3, None, None)]


def test_no_table_at_all(tmp_path):
    with pytest.raises(VolumeError, match='check the name'): read_rows(tmp_path/'no.csv', Link)
    (tmp_path/'bytes.csv').write_bytes(b'\xff\xfe\x00id')
    with pytest.raises(VolumeError, match='save it as UTF-8'): read_rows(tmp_path/'bytes.csv', Link)


def test_further_columns_and_missing_optional_ones_are_no_fault(tmp_path):
    (tmp_path/'t.csv').write_text('\ufeffid,n_voxels,mine\n3,20,x\n', encoding='utf-8')
    assert read_rows(tmp_path/'t.csv', Membrane) == [Membrane(3, 20)]


def test_a_failed_write_leaves_the_older_table(tmp_path):
    write_rows(tmp_path/'t.csv', [Membrane(1, 5)], Membrane)
    with pytest.raises(AttributeError): write_rows(tmp_path/'t.csv', [Membrane(2, 6), 'no record'], Membrane)
    assert read_rows(tmp_path/'t.csv', Membrane) == [Membrane(1, 5)] and len(list(tmp_path.iterdir())) == 1


VOLUME = Volume(np.zeros((3, 20, 30)), 8., (100., 200., 300.))


def test_measures_of_a_surface_scale_with_their_dimension():
    s = Surface(1, np.array([[1., 2, 3], [1, 2, 5], [1, 4, 3]]), np.array([[0, 1, 2]]), np.full(3, .5), 'closed', 'why', 'star', 2., .1, 3., .2,
                diameter_vox=4.)
    m = with_surface(Membrane(1, 77, confidence=.9), s, VOLUME)
    assert (m.area_A2, m.volume_A3, m.diameter_A, m.mean_sigma_A) == (2*64, 3*512, 32, 4)
    assert (m.n_voxels, m.confidence, m.status, m.reason, m.method, m.area_outside_A2) == (77, .9, 'closed', 'why', 'star', None)
    assert m.centre_z_A == 300 + 8 and m.centre_x_A == pytest.approx(100 + 8*11/3)


def test_a_membrane_of_one_image_has_its_contour_or_a_hint():
    assert '--contours' in with_contour(Membrane(1, 5), None, VOLUME).reason
    c = Contour(1, 0, 'closed', 'why', 'gp', np.array([[1., 2], [3, 4]]), np.ones(2), np.zeros(2, bool))
    m = with_contour(Membrane(1, 5), c, VOLUME)
    assert (m.status, m.method, m.mean_sigma_A, m.centre_x_A, m.area_A2) == ('closed', 'gp', 8., 124., None)


def test_contours_come_back(tmp_path):
    rng = np.random.default_rng(0)
    made = [Contour(k, k, 'closed', '', 'gp', rng.uniform(0, 20, (9, 2)), rng.uniform(.1, 1, 9), rng.random(9) > .5, 9, 12., 1., 30., 2.) for k in (1, 2)]
    made.append(Contour(3, 0, 'refused', 'too short', n_pixels=4))
    write_contours(tmp_path, made, VOLUME)
    for a, b in zip(made, read_contours(tmp_path, VOLUME), strict=True):
        assert (a.id, a.z, a.status, a.reason, a.n_pixels) == (b.id, b.z, b.status, b.reason, b.n_pixels)
        np.testing.assert_allclose(a.points, b.points, atol=1e-3)
        np.testing.assert_allclose(a.sigma, b.sigma, rtol=1e-5)
        assert (a.extrapolated == b.extrapolated).all()
        np.testing.assert_allclose([a.area_px2, a.perimeter_sd_px], [b.area_px2, b.perimeter_sd_px], rtol=1e-5)


LINKS = [Link(1, 2, 1, 3, 2, 10.5, -20.25, None, 120.5, cost=.25, taken=True, rule='merge', reason='nah, größer'), Link(2, 3, None, 4, None, cost=1.)]


def as_table(separator=',', decimal='.', yes='1', no='0', end='\n', quote=False, whole='{}'):
    "LINKS as a spreadsheet of some country writes them."
    def cell(value):
        if value is None: return ''
        if isinstance(value, bool): return yes if value else no
        text = whole.format(value) if isinstance(value, int) else str(value)
        if isinstance(value, float): text = text.replace('.', decimal)
        return f'"{text}"' if quote or separator in text else text
    rows = [separator.join(f'"{c}"' if quote else c for c in columns(Link))]
    rows += [separator.join(cell(getattr(link, c)) for c in columns(Link)) for link in LINKS]
    return end.join(rows) + end


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'cp1252'])
@pytest.mark.parametrize('how', [
    dict(), dict(separator=';', decimal=',', yes='WAHR', no='FALSCH', end='\r\n'), dict(separator='\t', decimal=','), dict(separator='\t', yes='TRUE', no='FALSE', end='\r'),
    dict(quote=True), dict(quote=True, decimal=','), dict(separator=';', yes='yes', no='no'), dict(yes='1.0', no='0.0', whole='{}.0'), dict(whole='{}E+00', yes='Vrai', no='Faux'),
    dict(separator=';', decimal=',', whole='{},00', yes='Ja', no='Nein')], ids=str)
def test_tables_of_any_spreadsheet_are_read_right(how, encoding, tmp_path):
    text = as_table(**how)
    (tmp_path/'t.csv').write_bytes(text.encode(encoding))
    assert read_rows(tmp_path/'t.csv', Link) == LINKS
    separator, end = how.get('separator', ','), how.get('end', '\n')
    empty = separator*text.partition(end)[0].count(separator) + end
    for around in (f'sep={separator}{end}' + text, end + text + empty*3, text + end*2, text.replace('link_id', ' Link ID ').replace('taken', 'TAKEN')):
        (tmp_path/'t.csv').write_bytes(around.encode(encoding))
        assert read_rows(tmp_path/'t.csv', Link) == LINKS


def test_columns_in_any_order_and_more_of_them(tmp_path):
    (tmp_path/'t.csv').write_text('mine;n_voxels;;id;area_A2\nx;20;;3;1,5\n')
    assert read_rows(tmp_path/'t.csv', Membrane) == [Membrane(3, 20, area_A2=1.5)]


@pytest.mark.parametrize('text, said', [
    ('id;n_voxels;area_A2\n3;20;1.234,5\n', 'line 2'), ('id;n_voxels;area_A2\n3;20;1,5\n4;20;1.5\n', 'decimal points everywhere'), ('id,n_voxels,area_A2\n3,20,"1,234"\n', 'thousands'),
    ('id\tn_voxels\tarea_A2\n3\t20\t1,234,567\n', 'thousands'), ('id,n_voxels\n3,"12,000"\n', 'thousands'), ('id;n_voxels;area_A2\n3;12.000;1,5\n', 'thousands'),
    ('id;n_voxels\n3;12.000\n', 'thousands'), ('id,n_voxels,area_A2\n3,20,1,5\n', 'commas in numbers'), ('id;n_voxels;area_A2\n3;20;12. Mai\n', '12. Mai'),
    ('id;n_voxels;area_A2\n3;20;1 234\n', 'no number'), ('id;n_voxels;area_A2\n3;20;#DIV/0!\n', 'no number'), ('id n_voxels\n3 20\n', 'separated by commas'), ('id,n_voxels\n3,2\0\n', 'zero bytes')])
def test_what_can_be_read_in_two_ways_is_refused(text, said, tmp_path):
    (tmp_path/'t.csv').write_text(text)
    with pytest.raises(VolumeError, match=said) as error: read_rows(tmp_path/'t.csv', Membrane)
    assert 't.csv' in str(error.value) and '\n' not in str(error.value)


def test_voxels_become_angstroms_where_the_voxel_size_is_known(tmp_path):
    "Lengths, areas, volumes and curvatures, each by its power; a table in Å is none for whom the size is unknown."
    row = Membrane(1, 20, area_A2=2., volume_A3=3., diameter_A=4., mean_curvature_per_A=5., confidence=.5)
    write_rows(tmp_path/'t.csv', [row], Membrane, False)
    found, = read_rows(tmp_path/'t.csv', Membrane, 10.)
    assert (found.area_A2, found.volume_A3, found.diameter_A, found.mean_curvature_per_A, found.confidence) == (200., 3000., 40., .5, .5)
    assert read_rows(tmp_path/'t.csv', Membrane, None) == read_rows(tmp_path/'t.csv', Membrane) == [row]
    write_rows(tmp_path/'t.csv', [row], Membrane)
    assert read_rows(tmp_path/'t.csv', Membrane, 10.) == [row]
    with pytest.raises(VolumeError, match='line 2: area_A2 is in Å.*--voxel-size'): read_rows(tmp_path/'t.csv', Membrane, None)


def test_places_keep_a_hundredth_wherever_the_origin_lies(tmp_path):
    "Curves are read back and fitted to; six digits of 1e7 Å are ten."
    volume = Volume(np.zeros((3, 9, 9), np.int8), 13., (2e7, -3e7, 1e6))
    contour = Contour(1, 2, 'closed', points=np.random.default_rng(0).uniform(0, 9, (40, 2)), sigma=np.ones(40), extrapolated=np.zeros(40, bool))
    write_contours(tmp_path, [contour], volume)
    np.testing.assert_allclose(read_contours(tmp_path, volume)[0].points, contour.points, atol=.002)


def test_a_table_without_its_decisions_is_refused(tmp_path):
    "Its links would all be taken for cut."
    write_rows(tmp_path/'links.csv', [Link(1, 1, None, 2, None, taken=True)], Link)
    lines = [line.split(',') for line in (tmp_path/'links.csv').read_text().splitlines()]
    k = lines[0].index('taken')
    (tmp_path/'links.csv').write_text('\n'.join(','.join(line[:k] + line[k + 1:]) for line in lines))
    with pytest.raises(VolumeError, match='taken'): read_rows(tmp_path/'links.csv', Link)
