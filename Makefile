# Everything is done by tools/dev.py, which works without make too (Windows): `python tools/dev.py test`.
PYTHON ?= python3

.PHONY: demo test test-long site setup clean

demo test test-long site setup clean:
	@$(PYTHON) tools/dev.py $@ $(ARGS)
