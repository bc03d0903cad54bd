# The front door. `make help` lists what it can do.
PYTHON ?= python3
ASKED := $(if $(filter-out file,$(origin PYTHON)),$(PYTHON))
UV ?= .uv/bin/uv
UV_VERSION := 0.13.8
CHEST_XRAY_RUNS ?= runs
ELSEWHERE := $(filter-out $(CURDIR)/%,$(abspath $(CHEST_XRAY_RUNS)))
RUN ?= $(CHEST_XRAY_RUNS)/reference-kermany
CORES := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
WORKERS := $(shell echo $$(($(CORES) > 8 ? 8 : $(CORES) > 2 ? $(CORES) : 2)))
JOBS ?= $(shell echo $$(($(CORES) > 4 ? $(CORES) / 2 : 2)))

TESTED = $(UV) run --quiet --frozen --extra test --extra tested

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export JUPYTER_PREFER_ENV_PATH := 1

.PHONY: help run test check data predict demo evaluate publish metrics slides site lab lint benchmark faults mutants coverage soak licences audit

help:  ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

run: .venv/.complete  ## every notebook in order, into runs/ (PARAMETERS=smoke|reference|gpu JOBS=4 NOTEBOOK=03_dense)
	@$(if $(ELSEWHERE),CHEST_XRAY_RUNS=$(ELSEWHERE)) snakemake --cores $(JOBS) --quiet rules host \
	  --rerun-incomplete --nolock $(if $(ELSEWHERE),--directory $(ELSEWHERE) --snakefile Snakefile) \
	  --config "parameters=$(PARAMETERS)" "notebook=$(NOTEBOOK)"

test: .venv/.complete lint  ## lint and the whole test suite
	@pytest -n $(WORKERS) --dist loadfile

check: .venv/.complete lint  ## what a change needs first: lint and the unit tests, no notebooks, a few minutes
	@pytest -n $(WORKERS) --dist loadfile -m "not notebooks and not real and not slow"

data: .venv/.complete  ## download the radiographs, 1.2 GB (FROM=file.zip or a folder that you have)
	@python -m helpers.data.download --from "$(FROM)"

predict: .venv/.complete  ## what the final model says of pictures (IMAGE="one.jpeg two.dcm")
	@python -m helpers.predict $(IMAGE)

demo: .venv/.complete  ## a page in the browser, for this computer alone: drop an X-ray, see what the final model says
	@python -m helpers.predict.demo

evaluate: .venv/.complete  ## the final model on other pictures, as a page (FOLDER=pictures LABELS=labels.csv)
	@python -m helpers.publishing.hospital "$(FOLDER)" $(if $(LABELS),--labels "$(LABELS)")

publish: .venv/.complete  ## finished fits of RUN into results/, images/, models/, README, final notebook and slides
	@python -m helpers.publishing $(RUN)

metrics: .venv/.complete  ## results/metrics.csv again from the published predictions, and every page made from it
	@python -m helpers.results && python -m helpers.publishing

slides: .venv/.complete  ## presentation/slides.html and slides.pdf from the published results
	@python -m helpers.publishing.slides

site: .venv/.complete  ## the executed notebooks of RUN and all pages as a website, in RUN/site
	@python -m helpers.publishing.site $(RUN)

lab: .venv/.complete  ## JupyterLab on the notebooks
	@jupyter lab --notebook-dir=. --ip=127.0.0.1 --KernelManager.transport_encryption=auto \
	  $$([ "$$(id -u)" != 0 ] || echo --allow-root)

benchmark: .venv/.complete  ## ours beside the usual pipelines, on an idle machine (PARTS="training" or "series", "scale", "costs")
	@python -m benchmarks $(PARTS)

faults: .venv/.complete  ## would we notice? plants faults in a copy, one at a time; half an hour, into tests/faults/NOTICED.md
	@python -m tests.faults

mutants: .venv/.complete  ## would a test notice a small change of the code? into tests/mutants/SURVIVORS.md
	@$(TESTED) python -m tests.mutants

coverage: .venv/.complete  ## lines and branches of helpers that the unit tests reach, into tests/COVERAGE.md
	@$(TESTED) pytest -n $(WORKERS) --dist loadfile -m "not notebooks and not real" --cov --cov-report=
	@{ printf '# Coverage\n\nLines and branches of `helpers` that tests reach in their own process: all but those of notebooks and of the'; \
	  printf ' real radiographs. By `make coverage`.\n\n'; \
	  $(TESTED) coverage report --format=markdown --sort=cover --skip-covered; } > tests/COVERAGE.md

soak: .venv/.complete  ## runs that are killed, stopped and starved of disk against undisturbed ones; an hour, into tests/README.md (KILLS=20)
	@python -m tests.soak --kills $(or $(KILLS),20)

licences: .venv/.complete  ## of everything that is installed
	@$(UV) tool run --quiet pip-licenses --python .venv/bin/python --from mixed --order license

audit: .venv/.complete  ## known weaknesses of everything that is locked; fails where their database is out of reach
	@$(UV) export --quiet --frozen --all-extras --no-emit-project | $(UV) tool run --quiet pip-audit \
	  --strict --no-deps --disable-pip -r /dev/stdin

lint: .venv/.complete  ## ruff on code and notebooks, and the direction of the imports
	@ruff check . && ruff format --check . && lint-imports --no-cache

.venv/.complete: pyproject.toml uv.lock $(if $(filter .uv/%,$(UV)),$(UV))
	@$(UV) sync --quiet --frozen --compile-bytecode --extra test $(if $(ASKED),--python $(ASKED)) || { echo \
	  "error: no environment; uv says why. Without network it needs its cache (UV_CACHE_DIR) or a" \
	  "package index that you can reach (UV_DEFAULT_INDEX)" >&2; exit 1; }
	@echo $(ASKED) > $@

ifneq ($(ASKED),$(if $(ASKED),$(shell cat .venv/.complete 2>/dev/null)))
.venv/.complete: another-python
.PHONY: another-python
another-python:
endif

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet uv==$(UV_VERSION) || { echo "error: pip could not get" \
	  "uv from its package index. If you have uv: make UV=uv" >&2; exit 1; }
