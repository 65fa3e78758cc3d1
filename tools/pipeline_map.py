"""Draw the map of the pipeline, nbs/images/map.svg, and for each chapter one in which its box is lit: `python tools/pipeline_map.py`."""
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

IMAGES = Path(__file__).resolve().parent.parent / 'nbs' / 'images'
WIDTH, HEIGHT = 1060, 236
BLUE, PALE, INK, GREY = '#0072b2', '#e8f1f8', '#1a1a1a', '#5f6b76'


class Step(NamedTuple):
    "A box of the map."
    folder: str             # of nbs/
    title: str
    words: str              # what it does
    page: str               # to which its box leads
    x: int
    y: int


class Thing(NamedTuple):
    "What passes from one box to the next."
    title: str
    words: str              # shape and meaning
    x: int
    y: int


BOX = 150, 58
STEPS = (Step('1_phantom', '1  phantom', 'a scene, a microscope', '1_phantom/example', 20, 20),
         Step('4_segment', '3-4  segment', 'U-Net, labels voxels', '4_segment/predict', 160, 108),
         Step('5_connect', '5  connect', 'joins fragments', '5_connect/link', 390, 108),
         Step('6_surface', '5.3-6  surface', 'Gaussian processes', '6_surface/fit', 620, 108),
         Step('7_measure', '7  measure', 'with error bars', '7_measure/curvature', 850, 108),
         Step('8_show', '8  show', 'report, widgets, files', '8_show/report', 850, 20),
         Step('2_run', '2  run', 'all in one command', '2_run/example', 390, 20))
THINGS = (Thing('tomogram', '(Z,Y,X) grey values', 75, 137), Thing('labels', '(Z,Y,X) 0, 1, 2', 350, 196),
          Thing('membranes', '(Z,Y,X) one id each', 580, 196), Thing('surfaces', '(n,3) vertices, (n,) sigma', 810, 196),
          Thing('tables', 'area ± sd, thickness ± sd, …', 975, 196))


def text(x, y, words, size, colour, weight='normal'):
    "A centred line."
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" font-weight="{weight}" text-anchor="middle">{escape(words)}</text>'


def box(step, lit):
    "A box, with a link to its page."
    width, height = BOX
    fill, ink, soft = (BLUE, '#fff', '#fff') if lit else (PALE, INK, GREY)
    middle = step.x + width//2
    return (f'<a href="{step.page}.html"><rect x="{step.x}" y="{step.y}" width="{width}" height="{height}" rx="9" fill="{fill}" stroke="{BLUE}"/>'
            + text(middle, step.y + 25, step.title, 16, ink, 'bold') + text(middle, step.y + 45, step.words, 11.5, soft) + '</a>')


def arrow(x1, y1, x2, y2, bend=''):
    "A line with a head."
    return f'<path d="M{x1} {y1} {bend}L{x2} {y2}" fill="none" stroke="{GREY}" stroke-width="1.6" marker-end="url(#head)"/>'


def svg(lit=''):
    "The map; `lit` names a folder of nbs/."
    arrows = [arrow(95, 78, 95, 116), arrow(132, 137, 158, 137), arrow(310, 137, 388, 137), arrow(540, 137, 618, 137), arrow(770, 137, 848, 137),
              arrow(170, 60, 235, 106, 'L 235 60 '), arrow(925, 108, 925, 80)]
    ticks = [f'<path d="M{t.x} 182 L{t.x} 142" stroke="{GREY}" stroke-dasharray="2 3"/>' for t in THINGS[1:4]]
    things = [text(t.x, t.y, t.title, 14, INK, 'bold') + text(t.x, t.y + 17, t.words, 11, GREY) for t in THINGS]
    head = f'<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="{GREY}"/></marker></defs>'
    parts = [head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', text(206, 54, 'trains', 11, GREY), *arrows, *ticks, *things,
             *(box(step, step.folder == lit) for step in STEPS)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="Helvetica, Arial, sans-serif" role="img" '
            f'aria-label="The pipeline: from a tomogram to labels, membranes, surfaces and tables">' + '\n'.join(parts) + '</svg>\n')


def main():
    IMAGES.mkdir(exist_ok=True)
    for lit in ('', *(step.folder for step in STEPS)):
        path = IMAGES / (f'map_{lit}.svg' if lit else 'map.svg')
        path.write_text(svg(lit), encoding='utf-8')
        print(path.relative_to(IMAGES.parent.parent))


if __name__ == '__main__': main()
