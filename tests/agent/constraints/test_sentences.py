"""Where sentences end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.agent.constraints.sentences import sentences_of


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Hello world", 1),
        ("", 0),
        ("... !", 0),
        ("A. B", 2),
        ("owl. cat sun tea.", 2),
        ("Stop!!! Now???", 2),
        ("Wow! that's it.", 2),
        ("He came.\nShe left", 2),
        ("He came\nand she left.", 1),
        ("**Stop.** Go. _Now._", 3),
        ("(He left.) She came.", 2),
        ("This is it.[1] Next one.[2][13]", 2),
        ("I love it! \U0001f600 She too.", 2),
    ],
)
def test_marks_before_blanks_end_sentences(text, count):
    assert sentences_of(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("I met Mr. Brown at 5 p.m. on Friday. We talked.", 2),
        ("i met mr. brown at 5 p.m. on friday. we talked.", 2),
        ("I MET DR. BROWN AT 5 P.M. ON FRIDAY. WE TALKED.", 2),
        ("Dr. Smith and Mrs. O'Neill saw Prof. Lee.", 1),
        ("Gen. Lee met Col. Mustard. They ate.", 2),
        ("Do one rep. Rest.", 2),
        ("We met at 5 p.m. She left.", 2),
        ("We ate at 7 p.m. Tom left at 8.", 2),
        ("Call at 9 a.m. Monday or at 5 p.m. EST.", 1),
        ("The game ended at 10 p.m.\n\nTom slept.", 2),
        ("He joined the U.S. Army. He is old.", 2),
        ("He lives in the U.S. She does not.", 2),
        ("He lives in the U.S. A dog does too.", 2),
        ("The U.S.A. is big, and D.C. is small.", 1),
        ("We bought apples, e.g. Fuji. They were good, i.e. red.", 2),
        ("She has a Ph.D. in math. He has an M.D. and more.", 2),
        ("Acme Inc. in Boston grew. So did Foo Ltd. of Leeds.", 2),
        ("Apples, pears, etc. are fruit. Yes.", 2),
        ("I like apples, etc. Tom likes pears.", 2),
        ("St. Louis is big. Mt. Everest is tall.", 2),
        ("He lives on Main St. She lives on Elm St. with him.", 2),
        ("Smith et al. found it. Cf. the next page.", 2),
        ("It was red vs. Blue. Red won.", 2),
        ("z.B. Katzen sind toll. Ja.", 2),
        ("In Jan. and on Mon. we ate 5 lbs. of rice. Then we slept.", 2),
        ("Brown v. Board of Education is old. So is Roe v. Wade.", 2),
        ("Martin Luther King Jr. was here. Lt. Col. Sanders too.", 2),
    ],
)
def test_abbreviations_end_none_unless_what_comes_next_begins_one(text, count):
    assert sentences_of(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("J. K. Rowling wrote it. I read it.", 2),
        ("J.K. Rowling and J.R.R. Tolkien wrote.", 1),
        ("George W. Bush won. А. С. Пушкин писал.", 2),
        ("Plan B. The dog ran.", 2),
        ("I take vitamin C. It helps.", 2),
        ("It was I. She knew.", 2),
        ("Malcolm X. Then he left.", 2),
        ("A. Paris\nB. Rome", 1),
        ("C. elegans is a worm. Mr. X. was not.", 2),
        ("I. Introduction\nII. Methods", 1),
    ],
)
def test_initials_end_none_before_a_name(text, count):
    assert sentences_of(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Items: 1. one 2. two 3. three. End.", 2),
        ("1. One.\n2. Two.\n3. Three.", 3),
        ("1. One\n2. Two", 1),
        ("Intro\n1. one\n2. two\n3. three", 1),
        ("- 1. Wash it.\n- 2. Boil it. Stir.", 3),
        ("**1.** Wash it. **2.** Boil it.", 2),
        ("Step 1. Mix. Step 2. Bake.", 2),
        ("a. First.\nb. Second.\nii. Third.", 3),
        ("Q. What is it? A. That thing.", 2),
        ("The answer is 3. Then we go.", 2),
        ("I was born in 1990. She was not.", 2),
        ("It costs 3.50. Buy it.", 2),
        ("Pi is 3.14159 and e is 2.71.", 1),
        ("3.5. b", 2),
        ("See Fig. 3 and pp. 12 to 14. It helps.", 2),
        ("No. 5 is alive.", 1),
        ("Did he? No. He left.", 3),
        ("Jan. 5 was cold. Version 2.0 is out.", 2),
    ],
)
def test_numbers_of_lists_and_decimals_end_none(text, count):
    assert sentences_of(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('"Is it late?" he asked. She nodded.', 2),
        ("“Is it late?” he asked. She nodded.", 2),
        ('"Is it late?" I asked. She nodded.', 2),
        ('"Stop!" John shouted. Everyone froze.', 2),
        ('"I see." The old man said it twice.', 1),
        ('She asked, "Why?" I left.', 2),
        ('He said: "Yes." Then he left.', 2),
        ('"Go." "Why?" "Because."', 3),
        ("He (Dr. No!) left.", 1),
        ("« Il est tard ? » demanda-t-il. Elle dit oui.", 2),
        ("—¿Es tarde? —preguntó él. Ella asintió.", 2),
        ("“现在晚了吗？”他问。她点了点头。", 2),
        ("「もう遅い？」と彼は聞いた。彼女はうなずいた。", 2),
        ('{"a":"Red cat.","b":"Blue sun."}', 2),
        ('{"a": ["Red cat.", "Blue sun."]}', 2),
        ('{"map": "red. cat sun."}', 2),
    ],
)
def test_quotations_go_on_in_their_sentence(text, count):
    assert sentences_of(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Well... maybe so.", 1),
        ("Well... I think so.", 1),
        ("He waited... Nothing came.", 2),
        ("Wait… what? Yes…", 2),
        ("Well . . . maybe. Yes.", 2),
        ("Visit www.example.com. Then call.", 2),
        ("Visit https://a.b/c.html?x=1 or mail a.b@c.org now.", 1),
        ("Open main.py and read data.tar.gz. Run it.", 2),
        ("猫がいる。犬もいる！鳥は？", 3),
        ("यह लाल है। वह नीला है।", 2),
        ("هل هذا جيد؟ نعم.", 2),
        ("Hello.\n\n**P.S.** I like it.", 2),
        ("Hello.\n\nP. S. I like it. P. P. S. So do you.", 3),
    ],
)
def test_ellipses_addresses_and_other_scripts(text, count):
    assert sentences_of(text) == count


@given(st.lists(st.sampled_from(["The cat sat", "We ran home", "It rained", "She smiled"]), min_size=1))
def test_plain_sentences_are_counted_whatever_their_marks(parts):
    for end in (". ", "! ", "? ", ".\n", '." ', ".) ", ".** "):
        assert sentences_of(end.join(parts) + end) == len(parts)
