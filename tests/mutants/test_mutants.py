"""What the sample of mutants is, and that something is said of every survivor."""

from tests.mutants import __main__ as mutants

NAMES = [f"helpers.{module}.x_f__mutmut_{n}" for module in ("a", "b") for n in range(30)]


def test_something_is_said_of_every_survivor():
    known = mutants.known()
    assert known and "not looked at" not in known.values()


def test_the_sample_of_a_module_follows_from_its_names_alone():
    sample = mutants.drawn(NAMES, 10)
    assert len(sample) == len(set(sample)) == 20
    assert {*mutants.drawn(NAMES[:30], 10)} == {name for name in sample if ".a." in name}
    assert {*sample} < {*mutants.drawn(NAMES, 15)}


def test_what_is_typed_of_a_survivor_stays_on_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, "TABLE", tmp_path / "page.md")
    states = dict(zip(NAMES, ["killed", "timeout", "survived", "no tests"] * 15, strict=True))
    changes = [("helpers.a.f", r"x \| y", "x & y"), ("helpers.b.f", "2", "3")]
    page = mutants.written(states, changes)
    mutants.TABLE.write_text(page.replace("not looked at", "equivalent: both are sets", 1))
    assert "| `helpers.a` | 30 | 16 | 53% |" in page and "| all | 60 | 30 | 50% |" in page
    assert list(mutants.known().values()) == ["equivalent: both are sets", "not looked at"]
    assert mutants.written(states, changes) == mutants.TABLE.read_text()
    assert mutants.outcome() == mutants.tried.Outcome("mutants", 60, 1, 29, 30, "make mutants")
