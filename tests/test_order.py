"The same argument order everywhere: a syntax tree says in which order functions take the things that many of them take."
import ast

import pytest

from notebooks import ROOT

ROOMS = sorted(p for p in (ROOT/'cryoseg').glob('*/*.py') if not p.stem.startswith('_'))
# what many functions take, in the order in which they take it; names on one line come in any order
ORDER = ('path',                                        # the file that is read or written
         'folder',                                      # of a run
         'data volume image labels membranes surfaces', # what it is done to
         'shape',                                       # where that lies
         'voxel_size_A size_A',
         'rng',                                         # a generator is used up: it is no setting
         'settings',
         'id',
         'seed',
         'overwrite',                                   # how the work goes on
         'progress',
         'workers share pool',
         'log')
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names.split()}
OTHERWISE = {       # (room, function): why; a name in brackets is not counted
    ('*', 'part'): '[path] writers of one format: `part` is the file, and `path` its name at the end',
    ('base.mrc', 'stack_sign'): '[path] for the words of an error',
    ('base.mrc', 'mrc_dtype'): '[path] for the words of an error',
    ('base.text', 'decode_text'): '[path] for the words of an error',
    ('base.volume', 'as_dtype'): '[path] for the words of an error',
    ('base.volume', 'unwrapped'): '[path] for the words of an error',
    ('base.volume', 'check_voxel_size'): '[path] for the words of an error',
    ('base.colours', 'without_colour'): '[path] for the words of an error',
    ('base.tiff', 'as_sections'): '[path] for the words of an error',
    ('base.zarr', 'zarr_place'): '[path] for the words of an error',
    ('base.zarr', 'zarr_doubt'): '[path] for the words of an error',
    ('run.workflow', 'at_size_of'): '[path] for the words of an error',
    ('run.workflow', 'start_record'): '[folder] it is what the function is about',
    ('result.folder', 'results_of_another'): '[folder] it is what the function is about',
    ('connect.split', 'find_pieces'): '[share] given by name everywhere',
    ('result.folder', 'read_input'): '[labels] whether the file holds some',
    ('run.settings', 'list_settings'): '[path] of a setting',
    ('run.blocks', 'label_in_blocks'): '[pool] it is bound first, and the rest is called as label_slices is',
    ('run.log', 'stage_logged'): '[log] it is what the function is about',
    ('measure.thickness', 'fit_bilayer'): '[shape] of a leaflet, not of a volume',
}


def functions(path):
    "(name, names of parameters by place) of the public functions of a room, but the commands."
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if not isinstance(node, ast.FunctionDef) or node.name.startswith('_'): continue
        if any('command' in ast.dump(d) for d in node.decorator_list): continue
        yield node.name, [a.arg for a in node.args.posonlyargs + node.args.args]


@pytest.mark.parametrize('path', ROOMS, ids=lambda path: f'{path.parent.name}.{path.stem}')
def test_arguments_come_in_one_order(path):
    wrong = []
    for name, asked in functions(path):
        why = OTHERWISE.get(('*', asked[0] if asked else '')) or OTHERWISE.get((f'{path.parent.name}.{path.stem}', name), '')
        counted = [a for a in asked if a in RANK and f'[{a}]' not in why]
        ranks = [RANK[a] for a in counted]
        if ranks != sorted(ranks): wrong.append(f'{name}({", ".join(asked)}): {", ".join(sorted(counted, key=RANK.get))}')
    assert not wrong, wrong


def test_what_is_excused_is_there():
    there = {(f'{p.parent.name}.{p.stem}', name) for p in ROOMS for name, _ in functions(p)}
    assert {key for key in OTHERWISE if key[0] != '*'} <= there
