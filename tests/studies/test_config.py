"""Configs: what is read, what overrides what, and what a mistake says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import AfterValidator, Field, model_validator

from implicit_bias import studies
from implicit_bias.errors import UserError
from implicit_bias.studies import Study, config
from implicit_bias.studies.config import load_config, settings_help, sizes
from implicit_bias.studies.refusals import increasing
from implicit_bias.studies.settings import Different, Positive, Section, StudySettings

STUDY_FILE = """
from implicit_bias.studies import Study, StudySettings

class Settings(StudySettings):
    step_size: float = 0.1

study = Study("mine", "A user's study", Settings, (), ())
"""


class Warmup(Section):
    steps: int = Field(0, ge=0, description="updates of warm-up")
    shape: Literal["linear", "cosine"] = "linear"
    hold: int = 5

    @model_validator(mode="after")
    def _check(self) -> Warmup:
        if self.hold < self.steps and self.steps > 8:
            raise self.refusal("hold", "steps", advice="choose a longer hold")
        return self


class Settings(StudySettings):
    """Settings with one field of every kind that studies use."""

    step_size: Positive = 0.1
    momentum: float = Field(0.0, ge=0, lt=1)
    step_sizes: tuple[Positive, ...] = Field((0.1,), min_length=1)
    pair: tuple[int, int] = (1, 2)
    between: Annotated[tuple[Positive, Positive], AfterValidator(increasing)] = (1.0, 2.0)
    twice: Different = (1.0,)
    rising: Annotated[tuple[Positive, ...], AfterValidator(increasing), Field(min_length=3)] = (
        1.0,
        2.0,
        3.0,
    )
    target: Positive | None = None
    nesterov: bool = False
    warmup: Warmup = Warmup()

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if self.step_size > 100:
            raise ValueError("step_size is far too large; choose one below 100")
        return self


FAKE = Study("fake-study", "A study of nothing", Settings, (), ())


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study with shipped configs, and an empty current folder."""
    root = tmp_path / "configs" / "fake_study"
    root.mkdir(parents=True)
    (root / "smoke.yaml").write_text("study: fake-study\nscale: smoke\nseeds: 2\n")
    (root / "laptop.yaml").write_text("study: fake-study\nscale: laptop\nseeds: 7\n")
    (root / "mnist.yaml").write_text("study: fake-study\nscale: laptop\ndata: {name: mnist}\n")
    known = studies.get

    def get(name: str) -> Study:
        return FAKE if name == "fake-study" else known(name)

    monkeypatch.setattr(studies, "get", get)
    monkeypatch.setattr(config, "config_root", lambda: tmp_path / "configs")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return root


def _load(*overrides: str, text: str = "") -> Any:
    """Settings of a config with the given lines, after overrides."""
    Path("c.yaml").write_text(f"study: fake-study\n{text}")
    return load_config("c.yaml", None, overrides)[1]


def _refusal(*overrides: str, text: str = "") -> str:
    with pytest.raises(UserError) as caught:
        _load(*overrides, text=text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Breaks if a bare name stops meaning smoke, or --scale another file than the one of that name.
def test_a_name_means_its_smoke_config_and_a_scale_means_that_config() -> None:
    study, settings, scale = load_config("fake-study")
    assert (study, settings.seeds, scale) == (FAKE, 2, "smoke")
    assert load_config("fake-study", "laptop")[1].seeds == 7
    _, settings, scale = load_config("fake-study", "mnist")
    # A config of the study keeps its own name, whatever it is labelled.
    assert (settings.data.name, scale) == ("mnist", "mnist")
    assert list(sizes("fake-study")) == ["smoke", "laptop", "mnist"]


# Breaks if the shipped configs of the real studies stop being found or valid.
@pytest.mark.parametrize("study", studies.names())
def test_shipped_configs_are_valid(study: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = sizes(study)
    assert "smoke" in found
    for path in found.values():
        loaded, _, scale = load_config(str(path))
        assert loaded.name == study
        assert scale == path.stem


# Breaks if a wheel's configs are not preferred, or a checkout's not found.
def test_configs_are_inside_the_package_or_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    package = tmp_path / "site" / "implicit_bias"
    package.mkdir(parents=True)
    monkeypatch.setattr(config.implicit_bias, "__file__", str(package / "__init__.py"))
    assert config.config_root() == tmp_path / "site" / "configs"
    (package / "_configs").mkdir()
    assert config.config_root() == package / "_configs"


# Breaks if numbers are read as YAML 1.1 has them: 1e-3 as text, 1:30 as 90, 010 as 8.
@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1E3", 1000.0), (".5", 0.5), ("2.", 2.0), ("3", 3.0), ("1_000.5", 1000.5)],
)
def test_numbers_are_numbers(text: str, value: float) -> None:
    assert _load(text=f"target: {text}\n").target == value
    assert _load(f"target={text}").target == value


@pytest.mark.parametrize("text", ["010", "1:30", "0x10", "'3'", "true", "yes", "[3]"])
def test_what_is_no_number_is_refused(text: str) -> None:
    assert _refusal(f"target={text}").endswith("give a number > 0, or null")


# Breaks if whole numbers may no longer be written 1e1 or 10.0, or if 10.5 is rounded.
def test_whole_numbers() -> None:
    assert _load("seeds=1e1").seeds == 10
    assert _load("seeds=10.0").seeds == 10
    assert "seeds is 10.5; give a whole number >= 1" in _refusal("seeds=10.5")


# Breaks if an override loses to the file, a later one to an earlier, or wipes its section's other
# keys.
def test_overrides_win_in_order_and_keep_their_neighbours() -> None:
    settings = _load(
        "warmup.steps=5",
        "warmup.steps=6",
        "step_sizes=[0.1, 1e-2]",
        "target=null",
        "data.name=a b",
        text="warmup: {steps: 1, shape: cosine}\ntarget: 3\n",
    )
    assert settings.warmup == Warmup(steps=6, shape="cosine")
    assert settings.step_sizes == (0.1, 0.01)
    assert settings.target is None
    assert settings.data.name == "a b"


# Breaks if what a mistake says loses the place, the key, the value or what is allowed.
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 0\n", "c.yaml line 2: seeds is 0; give a whole number >= 1"),
        ("step_size: fast\n", "c.yaml line 2: step_size is 'fast'; give a number > 0"),
        ("\nmomentum: 1\n", "c.yaml line 3: momentum is 1; give a number >= 0 and < 1"),
        ("momentum: .nan\n", "momentum is NaN; give a finite number >= 0 and < 1"),
        ("target: -1\n", "target is -1; give a number > 0, or null"),
        ("nesterov: yes\n", "nesterov is 'yes'; give true or false"),
        ("warmup:\n  steps: 2\n  shape: square\n",
         "c.yaml line 4: warmup.shape is 'square'; give one of linear, cosine"),
        ("warmup: 3\n", "warmup is 3; give a section with keys steps, shape, hold"),
        ("step_sizes: []\n", "step_sizes is []; give a list of at least 1, each a number > 0"),
        ("step_sizes: [1, -2]\n", "c.yaml line 2: step_sizes[1] is -2; give a number > 0"),
        ("step_sizes: 3\n", "step_sizes is 3; give a list of at least 1, each a number > 0"),
        ("rising: [1, 2]\n", "rising is [1, 2]; give a list of at least 3, each a number"),
        ("pair: [1]\n", "c.yaml line 2: pair is [1]; give a list of 2, each a whole number"),
        ("pair: [1, 2, 3]\n", "pair is [1, 2, 3]; give a list of 2, each a whole number"),
        ("pair: 1\n", "pair is 1; give a list of 2, each a whole number"),
        ("model: {widths: [4, x]}\n", "model.widths[1] is 'x'; give a whole number >= 1"),
        ("step_size: 1000\n", "step_size is far too large; choose one below 100"),
        ("seeds: 0\nmomentum: 2\n", "seeds is 0; give a whole number >= 1 and <= 100000 (and 1 more)"),
        ("stepsize: 1\n", "unknown setting stepsize; did you mean step_size?"),
        ("model: {width: [3]}\n",
         "unknown setting model.width; did you mean model.widths? (known in model: "),
        ("widths: [3]\n", "unknown setting widths; did you mean model.widths?"),
        ("seeds: 0\nsede: 3\n", "c.yaml line 3: unknown setting sede; did you mean seeds?"),
    ],
)  # fmt: skip
def test_what_a_mistake_in_a_file_says(text: str, message: str) -> None:
    assert message in _refusal(text=text)


# Breaks if a list of one bad value, or of the wrong length, counts as several mistakes: pydantic tells of
# the value and of the list that is then too short.
@pytest.mark.parametrize(
    "override",
    ["step_sizes=[0]", "step_sizes=[.nan]", "step_sizes=[x]", "pair=[.nan]", "pair=[]", "pair=[x, 1]",
     "between=[0]", "between=[1]", "between=[1, 2, 3]", "twice=[2, 2]", "twice=[]", "twice=[0]"],
)  # fmt: skip
def test_one_bad_value_is_one_mistake(override: str) -> None:
    message = _refusal(override)
    assert "more)" not in message
    key = override.partition("=")[0]
    assert message.startswith((f"{key} is [", f"{key}[0] is "))


# Breaks if several mistakes are no longer counted.
def test_two_bad_values_are_two_mistakes() -> None:
    assert _refusal("step_sizes=[0, 1, -1]").endswith("(and 1 more)")


# Breaks if of two settings that do not go together the one that was given on the command line is not
# named first, with its value, or if it is looked for in the file.
@pytest.mark.parametrize(
    ("override", "text", "message"),
    [
        ("warmup.steps=9", "warmup: {hold: 3}\n",
         "warmup.steps is 9 and warmup.hold is 3; choose a longer hold"),
        ("warmup.hold=3", "warmup: {steps: 9}\n",
         "warmup.hold is 3 and warmup.steps is 9; choose a longer hold"),
        ("momentum=0", "seeds: 2\nwarmup: {steps: 9, hold: 3}\n",
         "c.yaml line 3: warmup.hold is 3 and warmup.steps is 9; choose a longer hold"),
        ("warmup={steps: 9}", "warmup: {hold: 3}\n",
         "warmup.hold is 5 and warmup.steps is 9; choose a longer hold"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_together(override: str, text: str, message: str) -> None:
    assert _refusal(override, text=text) == message


# Breaks if a number is computed with that float32 turns into 0 or infinity, or that 32 bits cannot count.
@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "step_size=1e-300",
            "step_size is 1e-300; choose 1.2e-38 to 3.4e+38, the range of float32",
        ),
        ("step_sizes=[1, 1e300]", "step_sizes is [1, 1e+300]; choose 1.2e-38 to"),
        ("data.n_valid=5e9", "data.n_valid is 5000000000; choose at most 2147483647"),
    ],
)
def test_numbers_that_cannot_be_represented(override: str, message: str) -> None:
    assert _refusal(override).startswith(message)
    if "e9" not in override:
        assert _load(override, "dtype=float64").dtype == "float64"


# Breaks if a mistake on the command line is blamed on the file.
def test_a_mistake_in_an_override_is_not_looked_for_in_the_file() -> None:
    assert _refusal("seeds=0", text="seeds: 3\n").startswith("seeds is 0")
    assert _refusal("warmup={steps: -1}", text="warmup:\n  steps: 3\n").startswith(
        "warmup.steps is"
    )
    assert _refusal("step_size=1", text="seeds: 0\n").startswith("c.yaml line 2: seeds")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds", "write key=value"),
        ("=3", "write key=value"),
        ("a..b=3", "write key=value"),
        ("seeds=", "write seeds=null for none"),
        ("step_sizes=[1", "--set step_sizes line 1: not YAML"),
        ("scale=laptop", "use --scale"),
        ("study=other", "name the study itself"),
    ],
)
def test_malformed_overrides(override: str, message: str) -> None:
    assert message in _refusal(override)


# Breaks if an override may silently replace a list or number by a section.
def test_an_override_into_something_without_keys() -> None:
    assert "model is 3, which has no keys" in _refusal("model.bias=true", text="model: 3\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("study: fake-study\nseeds: [1\n", "c.yaml line 3: not YAML"),
        ("study: fake-study\n\tseeds: 1\n", "c.yaml line 2: not YAML"),
        ("study: fake-study\nseeds: 1\ndata:\n  name: a\n  name: b\n",
         "c.yaml line 5: data.name is given twice, first on line 4"),
        ("study: fake-study\nseeds: 1\nseeds: 1\n", "c.yaml line 3: seeds is given twice"),
        ("seeds: 3\n", "c.yaml names no study"),
        ("study: 3\n", "c.yaml has study 3"),
        ("", "c.yaml is empty"),
        ("# nothing\n", "c.yaml is empty"),
        ("- 1\n", "c.yaml holds [1]"),
        ("study: fake-study\n---\nstudy: fake-study\n", "not YAML"),
        ("study: fake-study\nscale: huge\n", "c.yaml line 2: scale is 'huge'"),
        ("study: fake-study\nscale: [1]\n", "scale is [1]"),
        ("study: fake-study\nseeds: !!python/object:os.system {}\n", "line 2: not YAML"),
        ("study: fake-study\ndata: &a [*a]\n", "contains itself"),
        ("study: " + "[" * 3000, "nested too deeply"),
        ("study: nowhere\n", "unknown study 'nowhere'"),
        ("study: fake-study\nseeds: 2024-01-01\n", "seeds is '2024-01-01'"),
    ],
)  # fmt: skip
def test_malformed_files(content: str, message: str) -> None:
    Path("c.yaml").write_text(content)
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        load_config("c.yaml")
    assert message in str(caught.value)


def test_unreadable_files() -> None:
    with pytest.raises(UserError, match=r"there is no file absent\.yaml"):
        load_config("absent.yaml")
    # A config of the repository, asked for where there is no repository.
    with pytest.raises(UserError, match="runs with `fake-study --scale mnist`"):
        load_config("configs/fake_study/mnist.yaml")
    Path("folder.yaml").mkdir()
    with pytest.raises(UserError, match=r"folder\.yaml cannot be read"):
        load_config("folder.yaml")
    Path("binary.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="not a text file"):
        load_config("binary.yaml")


def test_sizes_that_do_not_exist() -> None:
    with pytest.raises(UserError, match="no size 'huge'; choose one of smoke, laptop, mnist"):
        load_config("fake-study", "huge")
    Path("c.yaml").write_text("study: fake-study\nscale: laptop\n")
    assert load_config("c.yaml", "laptop")[2] == "laptop"
    with pytest.raises(UserError, match="leave out --scale"):
        load_config("c.yaml", "full")


# Breaks if a user's study has to be inside the package, or is looked for in the wrong folder.
def test_a_users_own_study(tmp_path: Path) -> None:
    Path("mine.py").write_text(STUDY_FILE)
    study, settings, scale = load_config("mine.py:study", None, ["step_size=0.5"])
    assert (study.title, settings.model_dump()["step_size"], scale) == (
        "A user's study", 0.5, "custom",
    )  # fmt: skip
    with pytest.raises(UserError, match="leave out --scale"):
        load_config("mine.py:study", "smoke")
    with pytest.raises(UserError, match=r"write mine\.py:NAME"):
        load_config("mine.py")
    with pytest.raises(UserError, match="did you mean 'study'"):
        load_config("mine.py:studdy")
    with pytest.raises(UserError, match="not a Study"):
        load_config("mine.py:Settings")


# Breaks if files named in a config are looked for only from the current folder, or if a name
# without a suffix is taken for a file.
def test_files_beside_a_config_are_found_from_anywhere(tmp_path: Path) -> None:
    beside = tmp_path / "elsewhere"
    beside.mkdir()
    (beside / "mine.py").write_text(STUDY_FILE)
    (beside / "net.py").write_text("")
    (beside / "digits").write_text("")
    (beside / "c.yaml").write_text(
        yaml.safe_dump({"study": "mine.py:study", "model": {"name": "net.py:net"},
                        "data": {"name": "digits"}})
    )  # fmt: skip
    study, settings, _ = load_config(str(beside / "c.yaml"))
    assert study.name == "mine"
    assert settings.model.name == os.path.join("..", "elsewhere", "net.py") + ":net"
    assert settings.data.name == "digits"


# Breaks if reading a config changes it for the next reader.
def test_overrides_do_not_leak_into_the_config() -> None:
    Path("c.yaml").write_text("study: fake-study\nwarmup: {steps: 1}\n")
    read = config.read_config(Path("c.yaml"))
    config._settings(FAKE, read, ["warmup.steps=4"])
    assert read.content == {"warmup": {"steps": 1}}


# Breaks if a setting is missing from the help, or its default or range is wrong.
def test_settings_help_lists_every_setting() -> None:
    listed = {setting.key: setting for setting in settings_help(FAKE)}
    assert listed["warmup.steps"].default == 0
    assert listed["warmup.steps"].allowed == "a whole number >= 0"
    assert listed["warmup.steps"].description == "updates of warm-up"
    assert listed["model.widths"].default == [64]
    assert listed["target"].allowed == "a number > 0, or null"
    assert "warmup" not in listed
