"""Every key of a document is found at the line where it stands."""

import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from edge.toml_lines import line_of, path_text, toml_lines

EXAMPLE = '''\
# a comment with [brackets] = "and more"
top = 1
dotted.key."quoted.part" = 'x # no comment'

[table]
text = """
many = "lines"
[not.a.table]
"""
raw = \'\'\'
also = many\'\'\'
after = true
list = [ # comment ]
  "a,]",
  { inline = 1, deep.er = [2, 3] },

  [4,
   5],
]
empty = []
none = {}

[[site]]
hosts = ["*"]
[[site.rule]]
ttl = "1d"
[[site.rule]]
ttl = "2d"
[site.extra]
key = 1
[[site]]
[[site.rule]]
when = 1979-05-27T07:32:00Z
[ "quoted table" . 'x' ]
y = 1
'''


def test_the_example_has_each_key_at_its_line():
    lines = toml_lines(EXAMPLE)
    assert tomllib.loads(EXAMPLE)["dotted"]["key"]["quoted.part"] == "x # no comment"
    expected = {
        ("top",): 2,
        ("dotted",): 3,
        ("dotted", "key", "quoted.part"): 3,
        ("table",): 5,
        ("table", "text"): 6,
        ("table", "raw"): 10,
        ("table", "after"): 12,
        ("table", "list", 0): 14,
        ("table", "list", 1): 15,
        ("table", "list", 1, "deep", "er", 1): 15,
        ("table", "list", 2): 17,
        ("table", "list", 2, 1): 18,
        ("table", "empty"): 20,
        ("table", "none"): 21,
        ("site",): 23,
        ("site", 0): 23,
        ("site", 0, "rule", 0, "ttl"): 26,
        ("site", 0, "rule", 1): 27,
        ("site", 0, "rule", 1, "ttl"): 28,
        ("site", 0, "extra", "key"): 30,
        ("site", 1): 31,
        ("site", 1, "rule", 0, "when"): 33,
        ("quoted table", "x", "y"): 35,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert ("not",) not in lines


def test_a_missing_key_is_placed_at_what_surrounds_it():
    lines = toml_lines(EXAMPLE)
    assert line_of(lines, ("site", 1, "origin")) == 31
    assert line_of(lines, ("listen", "http")) == 1


def test_windows_line_ends_count_as_one():
    assert toml_lines("a = 1\r\n\r\n[b]\r\nc = 2\r\n")[("b", "c")] == 4


def test_a_path_is_written_as_in_the_file():
    assert path_text(("site", 0, "rule", 1, "ttl_status", "404")) == "site[0].rule[1].ttl_status.404"
    assert path_text(("origin", "a b", "ca")) == 'origin."a b".ca'
    assert path_text(()) == ""


KEYS = st.text(st.sampled_from("abc-_1 .\"'é#="), min_size=1, max_size=5)
SCALARS = st.one_of(
    st.integers(-99, 99),
    st.booleans(),
    st.text(st.sampled_from("ab \"'\\\n#[]{}=,é"), max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=8,
)


class Writer:
    """Writes a document of nested values in the forms that TOML has, and notes the line of each path."""

    def __init__(self, draw):
        self.draw, self.text, self.lines = draw, "", {}

    def note(self, path):
        self.lines[path] = self.text.count("\n") + 1

    def key(self, key):
        if key.isascii() and key.replace("-", "").replace("_", "").isalnum() and self.draw(st.booleans()):
            return key
        return _basic(key)

    def pairs(self, path, table):
        tables = []
        for key, value in table.items():
            here = (*path, key)
            if isinstance(value, dict) and self.draw(st.booleans()):
                tables.append((here, value))
                continue
            self.text += self.draw(st.sampled_from(["", "\n", "# = [x]\n", "  "]))
            self.note(here)
            self.text += f"{self.key(key)} = "
            self.value(here, value)
            self.text += self.draw(st.sampled_from(["\n", " # ]\n"]))
        for here, value in tables:
            self.note(here)
            self.text += f"[{'.'.join(self.key(part) for part in here)}]\n"
            self.pairs(here, value)

    def value(self, path, value):
        if isinstance(value, bool):
            self.text += str(value).lower()
        elif isinstance(value, int):
            self.text += str(value)
        elif isinstance(value, str):
            self.text += self.string(value)
        elif isinstance(value, list):
            self.sequence("[", "]", [(index, item, "") for index, item in enumerate(value)], path, blanks=True)
        else:
            items = [(key, item, f"{self.key(key)} = ") for key, item in value.items()]
            self.sequence("{", "}", items, path, blanks=False)

    def sequence(self, opening, closing, items, path, *, blanks):
        blank = st.sampled_from(["", " ", "\n", " # ]}\n "] if blanks else ["", " "])
        self.text += opening
        for at, (step, item, label) in enumerate(items):
            self.text += ("," if at else "") + self.draw(blank)
            self.note((*path, step))
            self.text += label
            self.value((*path, step), item)
            self.text += self.draw(blank)
        self.text += closing

    def string(self, value):
        forms = [_basic(value)]
        if "'" not in value and "\n" not in value:
            forms.append(f"'{value}'")
        if "'" not in value:
            forms.append(f"'''\n{value}'''")
        forms.append('"""\n' + value.replace("\\", "\\\\").replace('"', '\\"') + '"""')
        return self.draw(st.sampled_from(forms))


def _basic(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


@settings(max_examples=300, deadline=None)
@given(st.data(), st.dictionaries(KEYS, VALUES, max_size=5))
def test_any_document_has_each_key_at_its_line(data, document):
    writer = Writer(data.draw)
    writer.pairs((), document)
    assert tomllib.loads(writer.text) == document
    assert toml_lines(writer.text) == writer.lines
