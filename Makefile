# Every target sets up what it needs, from nothing but Python, and keeps it: later runs start at once.

PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
STUDIO_VENV ?= .venv-studio
DOCS_VENV ?= .venv-docs
PEERS_VENV ?= .venv-peers
OTHERS = av1,jpegxl,jpeg2000,webp,jpeg

.PHONY: demo studio docs test lint bench peers results clean

# The demo runs as a user would: the package alone, without torch.
demo: $(DEMO_VENV)/ready
	$(DEMO_VENV)/bin/sempic demo $(if $(IMAGE),"$(IMAGE)") -o demo-out

# A web page on http://127.0.0.1:7860, until Ctrl-C.
studio: $(STUDIO_VENV)/ready
	$(STUDIO_VENV)/bin/sempic studio

# The documentation as a site of plain files; site/index.html is its first page.
docs: $(DOCS_VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict

test: lint
	$(VENV)/bin/python -m pytest

lint: $(VENV)/ready
	$(VENV)/bin/ruff check src tests docs tools examples
	$(VENV)/bin/mypy

# A first look at every codec; bench-out/report.html shows it.
bench: $(VENV)/ready
	$(VENV)/bin/sempic bench camvid:test --codecs sqgan,layered,spic,hevc,$(OTHERS) --limit 24 --points 0.03,0.05,0.1,0.2
	$(VENV)/bin/sempic report bench-out

# Seconds beside CompressAI's on one picture, a drawn street or IMAGE; 6 GB on Linux, where torch comes with CUDA.
peers: $(PEERS_VENV)/ready
	$(PEERS_VENV)/bin/python tools/peers.py $(if $(IMAGE),"$(IMAGE)")

# The numbers and curves of docs/results.md: three and a half hours on two cores, and what is done is kept.
results: $(VENV)/ready
	$(VENV)/bin/sempic bench camvid:test --codecs sqgan --points 0.015,0.02,0.03,0.05 --out docs/results
	$(VENV)/bin/sempic bench camvid:test --codecs layered --points 0.03,0.06,0.1,0.2,0.35 --out docs/results
	$(VENV)/bin/sempic bench camvid:test --codecs spic --points 0.03,0.05,0.09,0.15 --out docs/results
	$(VENV)/bin/sempic bench camvid:test --codecs hevc --points 0.05,0.1,0.2,0.35,0.5 --out docs/results
	$(VENV)/bin/sempic bench camvid:test --codecs $(OTHERS) --points 0.05,0.1,0.2,0.35 --out docs/results
	$(VENV)/bin/sempic report docs/results --markdown docs/results.md
	$(VENV)/bin/sempic bench camvid:test --limit 10 --codecs sqgan,layered,spic,av1 --points 160B,340B,600B --out docs/results/small
	$(VENV)/bin/sempic bench camvid:test --limit 59 --points 0.03,0.05 --out docs/results/maps \
		--codecs sqgan,sqgan:map=half,sqgan:map=eighth,sqgan:map=tokens
	$(VENV)/bin/sempic bench camvid:test --limit 24 --points 0.05 --metrics miou,psnr,lite0_frechet,lite0_distance \
		--codecs spic,spic:steps=2,spic:steps=4,spic:steps=8 --out docs/results/steps
	$(VENV)/bin/sempic bench camvid:test --limit 24 --points 0.05 --erase 0.02,0.05,0.1,0.2 --metrics miou,psnr --out docs/results/loss \
		--codecs sqgan,sqgan:protect=0.25,layered,layered:protect=0.25,spic,spic:protect=0.25,hevc,hevc:protect=0.25,jpeg,jpeg:protect=0.25
	$(VENV)/bin/sempic report docs/results/loss
	$(VENV)/bin/sempic bench camvid:test --codecs sqgan,layered --points 0.03 --out docs/results/colours \
		--metrics miou,agreement,psnr,lpips_squeeze,object_hue,object_hue_worst,object_delta_e,object_delta_e_worst

clean:
	rm -rf "$(VENV)" "$(DEMO_VENV)" "$(STUDIO_VENV)" "$(DOCS_VENV)" "$(PEERS_VENV)" site demo-out bench-out build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# torch goes first, by its exact version: where pip's own settings name a folder of wheels, a CPU build of that version
# is taken from there; elsewhere the same command takes the registry's build.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv "$(VENV)"
	$(VENV)/bin/python -m pip install --quiet torch==2.13.0
	$(VENV)/bin/python -m pip install --quiet -e ".[test]"
	touch "$@"

$(DEMO_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv "$(DEMO_VENV)"
	$(DEMO_VENV)/bin/python -m pip install --quiet -e .
	touch "$@"

$(STUDIO_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv "$(STUDIO_VENV)"
	$(STUDIO_VENV)/bin/python -m pip install --quiet -e ".[studio]"
	touch "$@"

$(DOCS_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv "$(DOCS_VENV)"
	$(DOCS_VENV)/bin/python -m pip install --quiet -e ".[docs]"
	touch "$@"

# In one go: CompressAI needs torchvision, which works with one release of torch alone.
$(PEERS_VENV)/ready: pyproject.toml
	$(PYTHON) -m venv "$(PEERS_VENV)"
	$(PEERS_VENV)/bin/python -m pip install --quiet compressai -e .
	touch "$@"
