__version__ = "0.1.0"

# The public face: each name is imported from its room when it is first asked for, so that `import cryoseg` is light.
_ROOMS = {
    'Volume': 'base.volume',
    'read_volume': 'base.formats',
    'segment_volume': 'segment.predict',
    'connect_labels': 'connect.membranes',
    'fit_surfaces': 'run.stages',
    'measure_surfaces': 'run.stages',
    'run_tomogram': 'run.workflow',
    'show_slices': 'show.slices',
    'show_surfaces': 'show.scene',
}
__all__ = [*_ROOMS]


def __getattr__(name):
    "Import a name of the public face from its room."
    if name not in _ROOMS:
        raise AttributeError(f'cryoseg has no {name!r}; it offers {", ".join(_ROOMS)}, and its wings')
    from importlib import import_module
    value = getattr(import_module(f'cryoseg.{_ROOMS[name]}'), name)
    globals()[name] = value
    return value


def __dir__():
    return [*globals(), *_ROOMS]
