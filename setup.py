"""Packaging of cryoseg: everything it says is read from settings.ini, the one place where it is written."""
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here / 'settings.ini', encoding='utf-8')
settings = config['DEFAULT']


def words(key):
    "The space-separated entries of `key`, none where it is absent."
    return settings.get(key, '').split()


notebook, dev = words('notebook_requirements'), words('dev_requirements')
setup(
    name=settings['lib_name'],
    version=settings['version'],
    description=settings['description'],
    long_description=(here / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    author=settings['author'],
    author_email=settings['author_email'],
    url=settings['git_url'],
    license='BSD-3-Clause',
    keywords=settings['keywords'],
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Science/Research', 'Programming Language :: Python :: 3',
                 'Topic :: Scientific/Engineering :: Image Processing'],
    packages=find_packages(include=[settings['lib_path'] + '*']),
    package_data={settings['lib_name']: ['weights/*.safetensors', 'weights/*.json', 'weights/*.md', 'napari.yaml', 'show/templates/*']},
    python_requires='>=' + settings['min_python'],
    install_requires=words('requirements'),
    extras_require=dict(notebook=notebook, dev=dev, zarr=words('zarr_requirements'), cluster=words('cluster_requirements'),
                        bench=words('bench_requirements'), napari=words('napari_requirements')),
    entry_points={'console_scripts': words('console_scripts'), 'nbdev': [f"{settings['lib_name']}={settings['lib_path']}._modidx:d"],
                  'napari.manifest': [f"{settings['lib_name']}={settings['lib_path']}:napari.yaml"]},
    zip_safe=False,
)
