"""Where the final answer stands: thoughts and tags, marks and headings, displays, "answer is"."""

import time

import pytest

from journeyman.agent.data import Message, Source, Split, StopReason, Task, Trajectory, Turn
from journeyman.agent.plugins import VERIFIERS, load_plugin
from journeyman.verifiers.answers.find import Where, find
from journeyman.verifiers.answers.spoken import spoken

THOUGHTS = [
    ("<think>", "</think>"),
    ("<THINK>", "</THINK>"),
    ("<thinking>\n", "\n</thinking>\n\n"),
    ("<think>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<reflection>", "</reflection>"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<start_working_out>", "<end_working_out>"),
    ("<unused94>", "<unused95>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
]
ENDS = [
    *(
        "<|im_end|>",
        "</s>",
        "<|eot_id|>",
        "<end_of_turn>",
        "<｜end▁of▁sentence｜>",
        "<|endoftext|>",
        "<|end|>",
        "<eos>",
    ),
    *("[/INST]", "<|end_of_text|>", "<|return|>", "<|END_OF_TURN_TOKEN|>", "[|endofturn|]", "<|eom_id|>", "<pad><pad>"),
]
STARTS = ["<s>", "<|im_start|>assistant\n", "<｜Assistant｜>", "<start_of_turn>model\n", "[gMASK]<sop><|assistant|>\n"]


@pytest.mark.parametrize(("opens", "closes"), THOUGHTS)
def test_a_thought_is_not_read_and_one_that_never_closes_has_no_answer(opens, closes):
    for thought in (r"\boxed{7}", "#### 7", "The answer is 7.", "<answer>7</answer>", "maybe, no:"):
        assert find(f"{opens}{thought}{closes}The answer is 42.", "auto") == "42"
        assert find(f"{thought}{closes}#### 42", "auto") == "42"  # its opening tag stood in the prompt
        assert find(f"{opens}a{closes}So {opens}{thought}{closes}\\boxed{{42}}", "auto") == "42"
        for where in Where.__args__:
            assert find(f"{opens}{thought}", where) == find(f"5 {opens}{thought}", where) == ""
            assert find(f"{opens}{thought}{closes}", where) == ""
            assert find(opens + "x" * 20_000 + thought, where) == ""


def test_thoughts_in_thoughts_and_words_like_their_tags():
    assert find("<think>a <think> b </think> \\boxed{7} </think> 42", "auto") == "42"
    assert find("<think>I close with </reasoning> \\boxed{7}", "auto") == ""
    assert find("</think>x>5", "auto") == "x>5"
    assert find("I think 42", "last") == "I think 42"
    assert find("$a<b>c$", "last") == "$a<b>c$"


@pytest.mark.parametrize("token", ENDS)
def test_special_tokens_are_no_part_of_the_answer(token):
    for text in ("The answer is 42.", "\\boxed{42}", "#### 42", "42", "<answer>42</answer>"):
        for start in ("", *STARTS):
            assert find(f"{start}{text}{token}\n", "auto") == "42"


def test_what_follows_the_end_of_a_turn_is_another_turn():
    for token in (
        "<|im_end|>\n<|im_start|>user\n",
        "<|eot_id|><|start_header_id|>user<|end_header_id|>",
        "<end_of_turn>\n",
    ):
        assert find(f"The answer is 42.{token}What is 2+2? The answer is 4.", "auto") == "42"
    assert find("<s>7</s>42", "auto") == "7 42"
    assert find("7</s>\n<s>42", "auto") == "42"


TAGS = [
    ("<answer> 42 </answer>", "42"),
    ("<answer>\n42\n</answer>", "42"),
    ("<Answer>42</Answer>", "42"),
    ("<answer>7</answer> No. <answer>42</answer>", "42"),
    ("6*7.\n<answer>42", "42"),
    ("6*7 is\n42</answer>", "42"),
    ("<answer>The result is \\boxed{42}.</answer>", "42"),
    ("<answer>The answer is 42.</answer>", "42"),
    ("<answer>#### 42</answer>", "42"),
    ("<answer>\nFirst, 6*7.\n\nSo it is 42.\n</answer>", "So it is 42."),
    ("<answer>6\n7</answer>", "6, 7"),
    ("<answer></answer>", ""),
    ("<final_answer>42</final_answer>", "42"),
    ("<think>7</think><solution>6*7. <answer>42</answer></solution>", "42"),
    ("<|begin_of_solution|>So $\\boxed{42}$<|end_of_solution|>", "42"),
    ("<|begin_of_box|>42<|end_of_box|>", "42"),
    ("<SOLUTION>42</SOLUTION>", "42"),
    ("<thinking>7</thinking><output>42</output>", "42"),
    ("[Reasoning] 6*7. [Answer] 42", "42"),
    ("<answer>7</answer>\\boxed{42}", "42"),
    ("\\boxed{7} <answer>42</answer>", "42"),
    ("<answer>(B)</answer>", "(B)"),
    ("<answer>x > 5</answer>", "x > 5"),
]
HEADINGS = [
    ("#### Step 1\n\nx\n\n#### Step 2: conclude\n\nSo $\\boxed{42}$.", "42"),
    ("#### 7\n\nThe sum is 40 + 2, so \\boxed{42}.", "42"),
    ("\\boxed{7}\n\n#### 42", "42"),
    ("#### 7\n\n#### 42", "42"),
    ("So 6*7. #### 42", "42"),
    ("####42", "42"),
    ("#### **42**", "**42**"),
    ("#### $\\boxed{42}$", "42"),
    ("#### The answer is 42", "42"),
    ("#### Answer: 42", "42"),
    ("#### Monday", "Monday"),
    ("#### (B)", "(B)"),
    ("#### Option D", "Option D"),
    ("#### 5 is wrong", "5 is wrong"),
    ("#### Final Answer\n\n42", "42"),
    ("#### Final Answer:\n42", "42"),
    ("### Answer\n$42$", "$42$"),
    ("## 5. Final Answer\n\n**42**", "**42**"),
    ("### Step 3: Final Answer\n\n42", "42"),
    ("## ✅ Final Answer\n\n42", "42"),
    ("**Answer**\n\n42", "42"),
    ("**Final Answer:**\n\n$$\n42\n$$", "\\[42\\]"),
    ("**Final Answer**\n\n**Monday**", "**Monday**"),
    ("Final Answer: 42", "42"),
    ("The final answer is:\n\n42", "42"),
    ("### Final Result\n\n42", "42"),
    ("\\boxed{7} is the first part. Final Answer: The final answer is $42$. I hope it is correct.", "$42$"),
    ("## Final Answer\n\nThe total is 42.\n\nI hope this helps!", "The total is 42."),
    ("## Answer\n\n42\n\n## Check\n\n6*7 = 42, and 6*6 = 36", "42"),
    ("**Answer**\n\n42\n\n**Explanation**\n\n6*7 is 42, since 6*6 is 36.", "42"),
    ("Answer:\nx = 2\ny = 3", "x = 2, y = 3"),
    ("\\boxed{42}\n\nThe final answer is correct.", "42"),
    ("#### 1. Compute\n\n6\n\n#### 2. Multiply\n\nSo the answer is 42.", "42"),
    ("#### Computing the product\n\n6*7 = 42", "6*7 = 42"),
    ("#### Conclusion\n\nThe total is 42.", "The total is 42."),
    ("#### Total number of ways\n\n6*7 = 42", "6*7 = 42"),
    ("#### Step 1: 6*7 = 42", "Step 1: 6*7 = 42"),
    ("It is 7.\n\n### Step 7", ""),
    ("4\n#### ", ""),
    ("The total is 42.\n\n---\n", "The total is 42."),
    ("So $x = 42$. ∎", "So $x = 42$. ∎"),
    ("So $x = 42$.\n\n$\\blacksquare$", "So $x = 42$."),
]
DISPLAYS = [
    ("Thus\n\\[\n9\n\\]", "\\[9\\]"),
    ("Thus\n$$\n9\n$$\n", "\\[9\\]"),
    ("Thus\n\\begin{align*}\nx &= 9.\n\\end{align*}", "\\[x = 9\\]"),
    ("Thus\n\\[\n\\begin{aligned}\nx &= 4+5\\\\\n&= 9\n\\end{aligned}\n\\]", "\\[x = 9\\]"),
    ("\\begin{equation}\\label{e}\nx = 9 \\tag{1}\n\\end{equation}", "\\[x = 9\\]"),
    ("\\begin{gather*}x+1=10\\\\[4pt] x=9\\end{gather*}", "\\[x=9\\]"),
    ("\\begin{align}2x &= 18 \\\\ \\implies x &= 9\\end{align}", "\\[x = 9\\]"),
    ("\\begin{align*}\\frac{a}{b}+1 &= 4+5 \\\\ &= 9\\end{align*}", "\\[9\\]"),
    ("\\begin{align*}S &= 4+5 \\\\ &\\le 9\\end{align*}", "\\[S = 4+5 \\le 9\\]"),
    ("\\begin{align*}x &= 1 \\\\ y &= 2\\end{align*}", "\\[x = 1, y = 2\\]"),
    ("\\begin{align*}x &= 2 \\\\ x &= 3\\end{align*}", "\\[x = 2, x = 3\\]"),
    ("\\begin{align*}x &= 4+5 \\\\ x &= 9\\end{align*}", "\\[x = 9\\]"),
    ("\\[\n\\begin{pmatrix}\n1\\\\\n2\n\\end{pmatrix}\n\\]", "\\[\\begin{pmatrix} 1\\\\ 2 \\end{pmatrix}\\]"),
    ("\\[\n\\begin{cases}\nx=1\\\\\ny=2\n\\end{cases}\n\\]", "\\[\\begin{cases} x=1\\\\ y=2 \\end{cases}\\]"),
    ("The answer is\n\\begin{align*}\nx &= 4+5\\\\\n&= 9\n\\end{align*}\nas claimed.", "\\[x = 9\\]"),
    ("So \\(\n9\n\\)", "So \\[9\\]"),
    ("\\boxed{\n9\n}", "9"),
    ("\\boxed{\\begin{aligned} x &= 4+5 \\\\ &= 9 \\end{aligned}}", "x = 9"),
    ("```\n9\n```", "9"),
    ("```python\nx = 7\n```", ""),
    ("The answer is 9.\n```python\nprint(\\boxed{7})\n```", "9"),
    ("Thus \\[ x = 9", "Thus \\[ x = 9"),
]
TOLD = [
    ("The answer is 5. No wait, the answer is 7.", "7"),
    ("The answer is 5. No wait, it is 7.", "No wait, it is 7."),
    ("The answer is 5? No, the answer is 7.", "7"),
    ("The answer is not 5. The answer is 7.", "7"),
    ("The answer is 5. That is wrong.", ""),
    ("The answer is 5. Hmm, that's not right. So it is 7.", "So it is 7."),
    ("\\boxed{5}\n\nWait, that's wrong. It should be \\boxed{7}.", "7"),
    ("\\boxed{5}. I made a mistake.", ""),
    ("\\boxed{5}. No, it is 7.", ""),
    ("#### 5\nNo, that is incorrect.", ""),
    ("This is wrong: 5", "This is wrong: 5"),
    ("It is wrong that $n$ is 5.", "It is wrong that $n$ is 5."),
    ("\\boxed{5}\n\nThis is not true for n = 2.", "5"),
    ("We have 2 choices for each: 3 or 4.\n\nThe total is 7.", "The total is 7."),
    ("There are 3 options: 2, 3 or 4.\nSo there are 7.", "So there are 7."),
    ("The answer is given by adding: 3+4.\n\nThe total is 7.", "The total is 7."),
    ("The answer is 7.\n\nThis answer is correct.", "7"),
    ("The correct option is B", "B"),
    ("So the correct choice is **(C)**.", "(C)**"),
    ("The answer should be 7.", "7"),
    ("The answer is Mrs. Hilt. She has 5.", "Mrs. Hilt"),
    ("\\textbf{Answer: } 7", "7"),
    ("__Answer:__ 7", "7"),
    ("Ans: 7", "7"),
    ("The answer is 5!", "5!"),
    ("The answer cannot be 7.", ""),
    ("The answer isn't 7.", ""),
    ("The answer is 7?", ""),
    ("x" * 1100 + ". It is so. Therefore, the total is 7. I hope so.", "Therefore, the total is 7."),
]


@pytest.mark.parametrize("table", [TAGS, HEADINGS, DISPLAYS, TOLD], ids=["tags", "headings", "displays", "told"])
def test_the_last_answer_that_is_given_counts(table):
    for text, found in table:
        assert find(text, "auto") == found, text


def test_where_says_which_of_them():
    text = "#### Step 1\n\n#### 2\n\n<answer>3</answer> \\boxed{4}\n\n#### Step 5: conclude\n\n6"
    assert [find(text, where) for where in Where.__args__] == ["4", "2", "4", "6"]
    assert find("#### Step 1\n\n\\boxed{2}", "marked") == ""
    assert find("#### Final Answer\n\n$\\boxed{42}$", "marked") == "42"
    assert find("### Final Answer\n\n42", "marked") == ""
    assert find("<answer>42</answer>", "boxed") == ""
    assert find("<think>\\boxed{7}</think>\\boxed{42}", "boxed") == "42"
    assert find("Thus\n\\[\n9\n\\]", "last") == "\\[9\\]"


def judged(verifier, goal, text):
    task = Task("dataset", goal, (Message("user", "?"),), Split.TEST, "0" * 32)
    said = (Turn(Message("assistant", text)),)
    trajectory = Trajectory(task.hash, Source.POLICY, said, (), StopReason.TERMINATED)
    return load_plugin(VERIFIERS, verifier, {}).verify(task, trajectory).score


@pytest.mark.parametrize("verifier", ["math", "number"])
def test_both_verifiers_of_numbers_look_in_the_same_places(verifier):
    for text in (
        *(f"{opens}\\boxed{{7}}{closes} The answer is 42." for opens, closes in THOUGHTS),
        *(f"The answer is 42.{token}" for token in ENDS),
        *("<answer> 42 </answer>", "#### Final Answer\n\n42", "### Step 1\n\n#### Step 2: 7 left\n\nSo $\\boxed{42}$."),
        *(
            "Thus\n\\[\n42\n\\]",
            "The answer is 42. I checked it 7 times.",
            "The largest $n$ is 42.",
            "The answer is 35+7 = 42",
        ),
    ):
        assert (judged(verifier, "42", text), judged(verifier, "7", text)) == (1, 0), text
    for text in (
        *(f"{opens}\\boxed{{7}}" for opens, _ in THOUGHTS),
        *(
            "#### 7\n\nSo \\boxed{42}",
            "The answer is not 7.",
            "\\boxed{6} or \\boxed{7}",
            "It is not \\boxed{7}",
        ),
        *("The answer is 6 or 7.", "<answer>not 7</answer>", "The answer is at most 7.", "Is the largest $n$ 7?"),
    ):
        assert judged(verifier, "7", text) == 0, text


UNITS = [
    *(
        "\\boxed{",
        "\\boxed{2}, ",
        "<think>",
        "</think>",
        "<think></think>",
        "<answer>",
        "</answer>",
        "<|im_end|>",
        "<",
        "[",
    ),
    *(
        "#### ",
        "#### Step\n",
        "#### Final Answer\n",
        "**Answer**\n",
        "**A**\n",
        "# ",
        "answer is ",
        "answer: ",
        "```\n",
        "<|",
    ),
    *(
        "The answer is not 5. ",
        "that is wrong. ",
        "No wait, ",
        ". ",
        "? ",
        "\n",
        "\t",
        "*",
        "1. ",
        "- ",
        "$n$ is 34 ",
        "x=2\n",
    ),
    *(
        "\\[",
        "\\]",
        "$$",
        "$",
        "\\begin{align}",
        "\\end{align}",
        "\\\\",
        "&",
        "x &= 1 \\\\\n",
        "\\text{",
        "\\quad",
        "\\implies ",
    ),
]


@pytest.mark.parametrize("unit", UNITS)
def test_ten_thousand_characters_take_milliseconds(unit):
    for before, after in (("", ""), ("The answer is ", "x"), ("\\[", "\\end{align}")):
        started = time.thread_time()
        for where in Where.__args__:
            find(before + unit * (10_000 // len(unit)) + after, where)
        assert time.thread_time() - started < 0.5


def test_what_is_said_is_cut_after_the_thoughts_are_out():
    assert spoken("<think>" + "x" * 10**6 + "</think>42") == "42"
    assert spoken("7" * 10**6 + "x") == "7" * 9_999 + "x"
