"""Which part of an answer is the program."""

import pytest

from journeyman.verifiers.programs.blocks import program_in

CHOSEN = {
    "the last of Python": ("```python\na\n```\n```python\nb\n```\n```\nc\n```", "b"),
    "else the last without a language": ("```\na\n```\n```\nb\n```\n```text\nc\n```", "b"),
    "else the last": ("```c\na\n```\n```text\nb\n```", "b"),
    "else the text": ("a = `1`\n", "a = `1`\n"),
    "Python of many names": ("```Python3\na\n```\n```c\nb\n```", "a"),
    "py": ("```py title='x.py'\na\n```\n```c\nb\n```", "a"),
    "braces": ("```{.python .numberLines}\na\n```\n```c\nb\n```", "a"),
    "python 3": ("``` python 3\na\n```\n```c\nb\n```", "a"),
    "a dialogue is no program": ("```python\na\n```\n```pycon\n>>> b\n```", "a"),
    "nor is a dialogue's other name": ("```python\na\n```\n```python-repl\n>>> b\n```", "a"),
    "tildes": ("~~~python\na\n```\nb\n~~~", "a\n```\nb"),
    "a longer fence": ("````python\na\n```\nb\n````", "a\n```\nb"),
    "a fence in a docstring": (
        '```python\ndef f():\n    """\n    ```\n    f()\n    ```\n    """\n```',
        'def f():\n    """\n    ```\n    f()\n    ```\n    """',
    ),
    "a list": ("1. So:\n\n   ```python\n   if a:\n       b\n   ```\n", "if a:\n    b"),
    "behind the list's mark": ("- ```python\n  if a:\n      b\n  ```\n", "if a:\n    b"),
    "behind a number": ("10. ```py\n    a\n    ```\n", "a"),
    "tabs": ("\t```python\n\tif a:\n\t\tb\n\t```", "if a:\n\tb"),
    "lines further out": ("   ```python\n a\n   b\n   ```", "a\nb"),
    "never closed": ("Here:\n```python\na\nb", "a\nb"),
    "Windows' lines": ("```python\r\na\r\nb\r\n```\r\n", "a\nb"),
    "code in a line": ("Use ```a``` or\n```python\nb\n```", "b"),
    "an empty block": ("```python\n```", ""),
    "a thought is not read": ("```python\na\n```\n</think>\n```\nb\n```", "b"),
}


@pytest.mark.parametrize("kind", CHOSEN)
def test_the_last_block(kind):
    text, program = CHOSEN[kind]
    assert program_in(text, "last") == program


def test_another_choice():
    text = "```py\na\n```\n```py\nlong\n```\n```py\nLONG\n```\n```py\nb\n```\n```\nlongest\n```"
    assert [program_in(text, choice) for choice in ("first", "longest", "last")] == ["a", "LONG", "b"]
