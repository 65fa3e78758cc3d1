"The folder of a small run, written by hand: a ball for each membrane, and the tables round it."
import csv

import numpy as np

from cryoseg.base.formats import write_volume
from cryoseg.base.geometry import icosphere
from cryoseg.base.volume import Volume
from cryoseg.result.folder import checksum
from cryoseg.result.meshes import write_surface_ply
from cryoseg.result.records import Surface

SHAPE, SIZE_A = (20, 28, 36), 10.0
COLUMNS = 'id n_voxels status reason centre_x_A centre_y_A centre_z_A area_A2 area_sd_A2 volume_A3 volume_sd_A3 mean_sigma_A confidence method'.split()
RUN = '''[run]
version = "0.1.0"
input = "tomogram.mrc"
checksum = "sha256:00"
voxel_size_A = 10.0
seed = 3
[settings]
weights = ""
[settings.input]
bin = 1
[settings.surface]
method = "auto"
[stages]
segment = {}
connect = {}
contours = {}
surface = {}
measure = {}
'''
EVALUATION = dict(voxel=dict(membrane_iou=0.81, dice=0.9, precision=None, recall=0.88, surface_dice=0.95),
                  instances=dict(are=0.02, voi_split_bits=0.0, voi_merge_bits=0.1, pq=0.9, n_true=2, n_found=2),
                  surfaces=[dict(id=1, true_id=1, assd_A=3.2, assd_visible_A=2.0, hd95_A=9.0, coverage68=0.7, coverage95=0.96, mean_sigma_A=4.0, area_error=0.01, volume_error=None)])


def row(id, status='closed', **more):
    return dict(id=id, n_voxels=900, status=status, reason='', centre_x_A=100.0, centre_y_A=140.0, centre_z_A=100.0, area_A2=45_234.0, area_sd_A2=312.0, volume_A3=9.1e5,
                volume_sd_A3=1.2e4, mean_sigma_A=4.2, confidence=0.9, method='star') | more


def make_run(folder, rows, origin_A=(0., 0., 0.), **record):
    "A run folder with a sphere for each row that has a surface."
    (folder / 'surfaces').mkdir(parents=True)
    rng, directions, (z, y, x) = np.random.default_rng(0), icosphere(2), np.indices(SHAPE)
    like = Volume(rng.normal(size=SHAPE).astype(np.float32), SIZE_A, origin_A)
    labels, membranes = np.zeros(SHAPE, np.int8), np.zeros(SHAPE, np.uint16)
    for r in rows:
        if r['status'] == 'refused': continue
        centre = np.array([10, 14, 9 + 17 * (r['id'] % 2)])
        shell = np.abs(np.sqrt((z - centre[0])**2 + (y - centre[1])**2 + (x - centre[2])**2) - 6) < 1
        labels[shell], membranes[shell] = 1, r['id']
        surface = Surface(r['id'], centre + 6 * directions[0], directions[1], np.full(len(directions[0]), 0.4), r['status'])
        write_surface_ply(folder / 'surfaces' / f'membrane_{r["id"]:04d}.ply', surface, like)
    labels[2:5, 2:5, 2:5] = 2 if rows else 0
    zero = np.zeros(SHAPE, np.float32)
    for name, data in dict(tomogram=like.data, labels=labels, membranes=membranes, membranes_closed=membranes, lumen=membranes, sigma=zero).items():
        write_volume(folder / f'{name}.mrc', like.with_data(data))
    with open(folder / 'membranes.csv', 'w', newline='', encoding='utf-8') as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows({k: '' if v is None else v for k, v in r.items()} for r in rows)
    text = record.get('text', RUN).replace('sha256:00', checksum(folder / 'tomogram.mrc'))
    (folder / 'run.toml').write_text(text, encoding='utf-8')
    return folder


NONE = dict.fromkeys(COLUMNS[4:])
ROWS = [row(1), row(2, 'truncated', reason='cut by the edge', volume_A3=None, volume_sd_A3=None), row(7, **NONE | dict(status='refused', n_voxels=40, reason='a <b>plane</b> & no more'))]
