__version__ = "0.2.0"

# The public face: each name is imported from its room when it is first asked for, so that `import cryoseg` is light.
_ROOMS = {
    'Volume': 'base.volume',
    'read_volume': 'base.formats',
    'segment_volume': 'segment.predict',
    'connect_labels': 'connect.membranes',
    'fit_surfaces': 'run.fits',
    'measure_surfaces': 'run.fits',
    'measure_distances': 'measure.distances',
    'measure_proteins': 'measure.proteins',
    'measure_thickness': 'measure.thickness',
    'run_tomogram': 'run.workflow',
    'show_slices': 'show.slices',
    'show_surfaces': 'show.scene',
    'export_run': 'show.export',
    'read_run': 'run.workflow',
    'review_run': 'run.review',
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


def _show_themselves():
    "In a notebook, let volumes, surfaces and runs show themselves; nothing is imported for it before one is shown."
    import sys
    shell = sys.modules['IPython'].get_ipython() if 'IPython' in sys.modules else None
    if shell is None:
        return

    def show(name, thing):
        from importlib import import_module
        return getattr(import_module('cryoseg.show.manners'), name)(thing)

    html = shell.display_formatter.formatters['text/html']
    for module, kind, name in (('cryoseg.base.volume', 'Volume', 'volume_html'),
                               ('cryoseg.result.records', 'Surface', 'surface_html'),
                               ('cryoseg.result.records', 'Membrane', 'membrane_html'),
                               ('cryoseg.run.workflow', 'Run', 'run_html')):
        html.for_type_by_name(module, kind, lambda thing, name=name: show(name, thing))


_show_themselves()
