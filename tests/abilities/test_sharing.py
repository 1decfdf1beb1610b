import random

from edit_robustness.abilities.sharing import tree


def paths(nodes, before=()):
    """For each row the tokens on its way from the root, and which nodes it meets in which order."""
    sequences = {}
    for node in nodes:
        assert node.start == len(before)
        assert node.ids
        assert node.end == node.start + len(node.ids)
        below = paths(node.children, before + node.ids)
        assert set(below) <= set(node.rows)
        sequences |= {row: below.get(row, before + node.ids) for row in node.rows}
    return sequences


def size(nodes):
    return sum(len(node.ids) + size(node.children) for node in nodes)


def test_every_row_is_a_way_through_the_tree():
    generator = random.Random(0)
    examples = [tuple(generator.choices(range(9), k=30)) for _ in range(3)]
    questions = [generator.choice(examples) + tuple(generator.choices(range(9), k=20)) for _ in range(20)]
    rows = [generator.choice(questions) + tuple(generator.choices(range(2), k=length)) for length in range(60)]
    rows = list(dict.fromkeys([*rows, *questions, *examples, (1,), (1, 2)]))
    roots = tree(rows)
    assert paths(roots) == dict(enumerate(rows))
    assert size(roots) < sum(map(len, rows)) / 2


def test_what_is_shared_stands_there_once():
    start = tuple(range(30))
    (root,) = tree([(*start, 50), (*start, 60, 61), start])
    assert (root.ids, sorted(root.rows)) == (start, [0, 1, 2])
    assert [(node.start, node.ids, node.rows) for node in root.children] == [(30, (50,), (0,)), (30, (60, 61), (1,))]


def test_little_is_not_shared():
    assert [node.ids for node in tree([(1, 2, 3), (1, 2, 4)])] == [(1, 2, 3), (1, 2, 4)]
    # one token before many, and many tokens before two
    assert len(tree([(1, number) for number in range(2, 90)])) == 88
    assert len(tree([(*range(23), 1), (*range(23), 2)])) == 2
    assert len(tree([(*range(24), 1), (*range(24), 2)])) == 1


def test_a_long_row_is_a_chain():
    row = tuple(range(2500))
    (first,) = tree([row])
    (second,) = first.children
    (third,) = second.children
    assert [len(node.ids) for node in (first, second, third)] == [1024, 1024, 452]
    assert first.ids + second.ids + third.ids == row
    assert tree([]) == ()
