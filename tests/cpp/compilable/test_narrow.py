"""The least that a piece of a header needs: what stands with it is what it asks for."""

import re
import shutil
import subprocess

import pytest

from weft.cpp.compilable import documents
from weft.cpp.compilable.closure import Selection, selected
from weft.cpp.compilable.division import leaves_of
from weft.cpp.compilable.leaves import Leaves
from weft.cpp.compilable.members import Members
from weft.cpp.compilable.narrow import NarrowSelection
from weft.cpp.index import file_facts
from weft.cpp.project import Project, SourceFile


def words(text: bytes) -> int:
    return len(re.findall(rb"\w+|[^\w\s]", text))


def opened(text: str) -> Leaves:
    """The leaves of a header whose classes are all opened."""
    facts = file_facts(SourceFile("a.h", text.encode()))
    return leaves_of(
        facts, words, largest=8, late=lambda item: None, read=lambda item: frozenset(), once=lambda item: None
    )


def written(selection: Selection) -> str:
    return "".join(piece.decode() for _, pieces in selected(selection) for _, _, piece in pieces)


def around(use: str, code: str, *, special: bool = True, budget: int = 10_000) -> str:
    """What stands with the declaration `use`, which is in `code` or after it."""
    leaves = opened(code if use in code else code + use + "\n")
    (place,) = [place for place, leaf in leaves.all.items() if use.encode() in leaf.text]
    selection = NarrowSelection(leaves, members=Members(leaves, {}), special=special)
    assert selection.add([place], budget=budget)
    assert selection.tokens >= words(written(selection).encode())
    return written(selection)


def pieces(text: str, max_tokens: int) -> list[str]:
    """Documents of a project of one header."""
    of = Project("p", (SourceFile("a.h", text.encode()),))
    return [document.text.decode() for document in documents(of, max_tokens=max_tokens, count_tokens=words)]


def functions(name: str) -> str:
    """Members of a class, each with a body."""
    return "".join(f"  int {name}{n}(int a) const {{ return a * {n} + {n} * a / {n}; }}\n" for n in range(1, 13))


def enclosed(code: str) -> str:
    return f"#ifndef A_H\n#define A_H\nnamespace a {{\n{code}}}\n#endif\n"


OTHER = f"class Other {{\n public:\n  Other(int a);\n  int size() const;\n{functions('other')}}};\n"


@pytest.mark.parametrize(
    "use, wanted, spared",
    [
        ("int f(Other* o);", ["class Other;"], ["class Other {", "Other(int a)", "other3"]),
        ("int f(const Other& o) { return o.size(); }", ["int size() const;"], ["Other(int a)", "other3"]),
        ("int f() { return Other(1).other3(2); }", ["Other(int a);", "other3(int a) const;"], ["other4", "size"]),
        ("using T = Other;", ["class Other {"], ["Other(int a)", "size"]),
    ],
    ids=["pointed to", "asked for a member", "constructed", "complete"],
)
def test_a_class_brings_what_is_asked_of_it(use: str, wanted: list[str], spared: list[str]) -> None:
    found = around(use, OTHER)
    assert [line for line in wanted if line not in found] == []
    assert [line for line in spared if line in found] == []


def test_members_of_classes_that_are_not_mentioned_stay_out() -> None:
    mine = "class Mine {\n public:\n  int twice() const { return 2 * size(); }\n  int size() const;\n};\n"
    found = around("int twice() const { return 2 * size(); }", OTHER + mine)
    assert "Other" not in found
    assert "int size() const;" in found


def test_members_of_a_base_come_by_their_names() -> None:
    derived = "class Derived : public Other {\n public:\n  int twice() const { return 2 * size(); }\n};\n"
    found = around("int twice() const { return 2 * size(); }", OTHER + derived)
    assert "int size() const;" in found
    assert "other3" not in found


def test_operators_and_friends_come_where_they_are_applied() -> None:
    befriended = "  friend class Reader;\n  friend int peek(const V& v);\n"
    value = f"class V {{\n{befriended} public:\n  V& operator+=(int a);\n  V& operator*=(int a);\n  int n_;\n}};\n"
    found = around("int peek(const V& v) { V w(v); w += 2; return w.n_; }", value)
    assert "friend int peek" in found
    assert "operator+=" in found
    assert "operator*=" not in found
    assert "Reader" not in found


def test_operators_come_where_they_are_applied_to_a_result() -> None:
    value = "class V {\n public:\n  V operator+(V a) const;\n  V operator*(V a) const;\n  int n_;\n};\nV make(int n);\n"
    found = around("int f() { return (make(1) + make(2)).n_; }", value)
    assert "operator+" in found
    assert "operator*" not in found


def test_virtual_functions_come_where_they_are_called_and_if_their_base_is_not_here() -> None:
    derived = "class D : public B {\n public:\n  void grow(int n) override;\n  int d;\n};\n"
    base = "class B {\n public:\n  virtual void grow(int n) = 0;\n};\n"
    assert "grow(int n) override" in around("int f() { return sizeof(D); }", derived)
    assert "grow" not in around("int f() { return sizeof(D); }", base + derived)
    assert "grow(int n) override" in around("void g(B& b, D d) { b.grow(1); }", base + derived)


def test_overloads_come_where_they_are_called() -> None:
    shows = "int show(int a);\nint show(char a);\n"
    assert "int show(int a);" not in around("int show(long a) { return 1; }", shows)
    assert "int show(int a);" in around("int show(long a) { return show(int(a)); }", shows)
    primary = "template <class T> int kind(T a) { return 0; }\n"
    assert "int kind(T a)" in around("template <> int kind(int a) { return 1; }", primary)


def test_a_destructor_is_declared_where_it_is_defined() -> None:
    nested = "struct A { struct B; };\nstruct A::B {\n  B();\n  ~B();\n  int size() const;\n};\n"
    found = around("A::B::~B() { size(); }", nested)
    assert "  ~B();" in found
    assert "int size() const;" in found


def test_a_class_that_a_result_is_asked_for_stands() -> None:
    code = "struct Row { int a; };\nstruct Row row(int n);\nstruct Col { int b; };\nstruct Col col(int n);\n"
    found = around("int f() { return row(1).a + sizeof(col(2)); }", code)
    assert "struct Row { int a; };" in found
    assert "struct Col {" not in found


def test_members_come_by_another_name_of_their_class() -> None:
    found = around("int f() { return Alias::other3(2); }", OTHER + "using Alias = Other;\n")
    assert "int other3(int a) const;" in found
    assert "other4" not in found


def test_a_friend_is_announced_unless_it_announces_itself() -> None:
    friends = "struct One { int a; };\nstruct Two { int b; };\n"
    for friend, wanted in (("friend One;", True), ("friend struct One;", False)):
        code = friends + f"struct V {{\n  {friend}\n  int n_;\n  int norm() const {{ One* o; return n_; }}\n}};\n"
        assert ("struct One;" in around(friend, code).replace(friend, "")) is wanted


def test_macros_that_are_told_a_known_name_do_not_come_with_it() -> None:
    calls = "MAKE_ENUM(kind, 1);\nMAKE_MODEL(kind, 2);\nMAKE_MODEL(kind, 3);\n"
    assert "MAKE_MODEL" not in around("int f(kind k);", calls)
    assert "MAKE_ENUM(kind, 1)" in around("int f(kind k);", calls)
    assert "MAKE_MODEL(kind, 2)" in around("TEST(kind, works) { check(); }", calls)


SPECIAL = """struct Far { int a, b, c, d, e, f, g, h; };
template <class T> struct Kind { static int of(T t); };
template <> struct Kind<int> { static int of(int t); int one() const { return 1; } };
template <> struct Kind<Far> { static int of(Far t); int two() const { return 2; } };
"""


@pytest.mark.parametrize("budget, stands", [(10_000, True), (60, False)], ids=["room", "no room"])
def test_specialisations_for_what_is_known_stand_while_there_is_room(budget: int, stands: bool) -> None:
    use = "template <class T> int kind(T t) { return Kind<char>::of(t); }"
    found = around(use, SPECIAL, special=False, budget=budget)
    assert "template <class T> struct Kind {" in found
    assert ("struct Kind<int> {" in found) is stands
    assert "Far" not in found


def test_leaves_that_lack_something_share_a_document() -> None:
    needed = "".join(
        f"inline int f{n}(int a) {{ return a * {n} + {n}; }}\nconst int c{n} = f{n}(f{n}(2));\n" for n in range(40)
    )
    everything = " + ".join(f"c{n}" for n in range(40))
    lacking = "".join(f"inline int g{n}() {{ return {everything}; }}\nint h{n}();\n" for n in range(2))
    found = pieces(enclosed(needed + lacking), 400)
    (piece,) = [piece for piece in found if "g0() {" in piece]
    assert "g1() {" in piece
    assert "int h0();" not in piece


def test_template_parameters_mean_nothing_outside() -> None:
    outside = "struct T { int a; };\n"
    assert "struct T" not in around("T value;", outside + "template <class T> struct Box { T value; int n; };\n")
    assert "struct T" in around("T value;", outside + "struct Box { T value; int n; };\n")


def test_a_class_that_needs_too_much_is_divided() -> None:
    others = "".join(f"struct S{n} {{ int a{n}; int b{n}; int c{n}; int d{n}; int e{n}; }};\n" for n in range(12))
    members = "".join(f"  int f{n}(S{n} s) {{ return s.a{n} + s.b{n} + s.c{n} + s.d{n}; }}\n" for n in range(12))
    found = pieces(enclosed(others + f"class Users {{\n public:\n{members}}};\n"), 500)
    users = [piece for piece in found if "class Users" in piece]
    assert len(users) > 1
    for n in range(12):
        (piece,) = [piece for piece in users if f"int f{n}(S{n} s) {{" in piece]
        assert f"int d{n};" in piece


def test_a_template_that_takes_a_lambda_keeps_its_body() -> None:
    each = "template <class F> constexpr int each(F f) { return f(1) + f(2) + f(3) + f(4); }\n"
    assert "return f(1)" in around("int g(int a) { return each([a](int b) { return a + b; }); }", each)
    assert "return f(1)" not in around("int g(int (*h)(int)) { return each(h); }", each)


def test_an_enumeration_that_is_only_named_stands_without_its_values() -> None:
    kinds = "enum Kind { low, high };\n"
    assert "enum Kind {};" in around("int f(Kind k) { return g(k); }", kinds)
    assert "enum Kind { low, high };" in around("int f(Kind k) { return k == low; }", kinds)


def test_a_long_comment_stands_once_and_with_its_class() -> None:
    comment = "/** A comment that is longer than any declaration. " + "It goes on. " * 20 + "*/\n"
    found = pieces(enclosed(comment + f"class X {{\n public:\n{functions('x')}{functions('y')}}};\n"), 200)
    (with_comment,) = [piece for piece in found if "longer than any" in piece]
    assert re.search(r"\*/\s*class X \{", with_comment)
    assert len(found) > 2


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_pieces_of_classes_that_know_each_other_compile() -> None:
    base = (
        "class Node {\n public:\n  explicit Node(int n);\n  virtual ~Node();\n"
        f"  virtual Leaf* leaf() {{ return nullptr; }}\n{functions('node')} protected:\n  Node* next_;\n"
        "  int n_;\n};\n"
    )
    leaf = (
        "class Leaf : public Node {\n public:\n  Leaf(int n) : Node(n) {}\n  Leaf* leaf() override { return this; }\n"
        f"  int depth() const {{ return next_ ? next_->node3(n_) : kLow; }}\n{functions('leaf')}}};\n"
    )
    use = "inline int sum(Node& n) { Leaf l(3); return l.depth() + (n.leaf() ? n.leaf()->leaf2(1) : kHigh); }\n"
    found = pieces(enclosed("class Leaf;\nenum Kind { kLow, kHigh };\n" + base + leaf + use), 160)
    assert len(found) > 3
    command = ["g++", "-std=c++17", "-fsyntax-only", "-xc++", "-"]
    for piece in found:
        ran = subprocess.run(command, input=piece, text=True, check=False, capture_output=True)
        assert ran.returncode == 0, ran.stderr + piece


def test_a_scoped_enumeration_stands_with_its_values_where_one_is_named() -> None:
    kinds = "enum class Kind : char { low, high };\n"
    assert "enum class Kind : char {};" in around("int f(Kind k) { return static_cast<int>(k); }", kinds)
    assert "low, high" in around("int f(Kind k) { return k == Kind::low; }", kinds)
    assert "low, high" in around("using K = Kind;", kinds)


def test_a_macro_behind_a_functions_parameters_is_needed() -> None:
    macro = "#define RETURNS(x) -> decltype(x) { return x; }\n"
    assert "#define RETURNS(x)" in around("auto twice(int a) RETURNS(2 * a);", macro)


BOX = (
    "template <typename T> class Box : public Other {\n public:\n  T get() const { return value_; }\n  T value_;\n};\n"
)


@pytest.mark.parametrize(
    "use, complete",
    [
        ("template <typename T> int f(T v) { return Box<T>(v).get(); }", False),
        ("template <typename T> int f(Box<T> b) { return b.get(); }", False),
        ("template <typename T> int f(T v) { return Box<int>(v).get(); }", True),
        ("int f(int v) { return Box<int>(v).get(); }", True),
    ],
)
def test_class_templates_are_announced_where_no_instance_is_made(use: str, complete: bool) -> None:
    found = around(use, OTHER + BOX)
    assert ("class Box :" in found, "class Other {" in found) == (complete, complete)
    assert complete or "template <typename T> class Box;" in found


def test_what_a_template_needs_is_complete_where_another_makes_an_instance_of_it() -> None:
    twice = "template <typename T> Box<T> twice(T v);\n"
    assert "class Box :" not in around("template <typename T> int f(T v) { return twice(v).n; }", OTHER + BOX + twice)
    assert "class Other {" in around("int f(int v) { return twice(v).n; }", OTHER + BOX + twice)


def test_a_member_that_is_defined_outside_needs_its_class_template() -> None:
    box = "template <typename T> class Box {\n public:\n  T get() const;\n  T value_;\n};\n"
    assert "class Box {" in around("template <typename T> T Box<T>::get() const { return value_; }", OTHER + box)


FRIENDS = """template <typename T> class Reader;
template <typename T> class V {
  friend class Reader<T>;
 public:
  int peek() const { return n_; }
  int n_;
};
template <typename T> class Reader {
  int read(V<T> v) { return v.n_; }
  int get(V<int> v) { return v.n_; }
};
"""


def test_a_befriended_template_is_declared_before() -> None:
    found = around("int get(V<int> v) { return v.n_; }", FRIENDS)
    assert found.index("class Reader;") < found.index("friend class Reader<T>;")


def test_a_type_whose_variable_is_used_stands_with_it() -> None:
    fields = "".join(f"    int field{n};\n" for n in range(12))
    code = f"struct A {{\n  A() : kept(1) {{}}\n  union Value {{\n    int one;\n{fields}  }} kept;\n}};\n"
    found = around("A() : kept(1) {}", code)
    assert "} kept;" in found
    assert "union Value;" not in found


def test_default_arguments_of_a_class_that_is_announced_stand() -> None:
    named = "enum { most = 9 };\nstruct Traits { int a, b, c, d, e, f; };\n"
    head = "template <typename T, int N = most, typename R = Traits> class Ring"
    ring = f"{head} {{\n public:\n  T get() const {{ return value_; }}\n  T value_;\n}};\n"
    found = around("template <typename T> int f(T v) { return Ring<T>(v).get(); }", named + ring)
    assert found.startswith(f"enum {{ most = 9 }};\nstruct Traits;\n{head};\n")
