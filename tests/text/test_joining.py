import pytest

from edit_robustness.text.joining import join_prompt, separator


@pytest.mark.parametrize(
    ("prompt", "target"),
    [
        ("The capital of France is", "Paris"),
        ("What is the capital of France?", "Paris"),
        ("It is called", "42"),
        ("프랑스의 수도는", "파리"),
        ("Столица Франции —", "Париж"),
        ("the students'", "union"),
        ('the song "Yesterday"', "by"),
        ("the song “Yesterday”", "by"),
        ("France’s capital is", "Paris"),
        ("die Stadt „Lyon“", "liegt"),
        ("byen »Lyon«", "ligger"),
        ("la ville « Lyon »", "est"),
        ("Paris (France)", "is"),
        ("The price is 5 €", "today"),
        ("written in C#", "or"),
        ("written in C++", "or"),
        ("The capital is -", "Paris"),
        ("The capital is --", "Paris"),
        ("5 -", "3"),
        ('5 feet 3"', "tall"),
        ("The capital ____", "Paris"),
        ("The platform is made with", ".NET"),
        ("the band", "!!!"),
        ("She was born in", "'s-Hertogenbosch"),
        ("The capital of China is", "北京"),
        ("首都是 Paris", "北京"),
    ],
)
def test_a_space_where_a_native_text_has_one(prompt, target):
    assert separator(prompt, target) == " "
    assert join_prompt(prompt, target) == f"{prompt} {target}"


@pytest.mark.parametrize(
    ("prompt", "target"),
    [
        ("中国的首都是", "北京"),
        ("中国的首都是：", "北京"),
        ("中国的首都是“", "北京"),
        ("中国的首都是哪里？", "北京"),
        ("人口は", "1000万"),
        ("日本の首都は", "東京"),
        ("日本の首都は「", "東京"),
        ("日本の首都は", "ﾄｳｷｮｳ"),
        ("เมืองหลวงของไทยคือ", "กรุงเทพ"),
        ("ນະຄອນຫຼວງຂອງລາວແມ່ນ", "ວຽງຈັນ"),
        ("រាជធានីគឺ", "ភ្នំពេញ"),
        ("မြို့တော်မှာ", "နေပြည်တော်"),
        ('The book was written by "', "George Orwell"),
        ('The song "Yesterday" is by "', "The Beatles"),
        ('An odd " here.\nIt is by "', "The Beatles"),
        ("The book was written by “", "George Orwell"),
        ("France’s capital is ‘", "Paris"),
        ("France's capital is '", "Paris"),
        ("die Stadt „", "Lyon"),
        ("staden ”", "Lyon"),
        ("die Stadt »", "Lyon"),
        ("The capital (", "Paris"),
        ("The capital [", "Paris"),
        ("The price is $", "5"),
        ("The price is US$", "5"),
        ("The price is £", "5"),
        ("The price is ₹", "5"),
        ("The price is ￥", "5"),
        ("and/", "or"),
        ("https://", "example.org"),
        ("the Franco-", "Prussian war"),
        ("from 1990–", "1995"),
        ("AT&", "T"),
        ("written by @", "user"),
        ("It is #", "1"),
        ("It is -", "5 degrees"),
        ("la capitale de l'", "Italie"),
        ("la capitale de l’", "Italie"),
        ("by Conan O'", "Brien"),
        ("¿", "Dónde"),
        ("The capital is ", "Paris"),
        ("Paris", ", France"),
        ("", "Paris"),
    ],
)
def test_nothing_where_a_native_text_has_nothing(prompt, target):
    assert separator(prompt, target) == ""
    assert join_prompt(prompt, target) == prompt + target


def test_a_join_that_is_given_wins_over_the_rule():
    assert join_prompt("The capital is", "Paris", "") == "The capital isParis"
    assert join_prompt("首都是", "北京", " ") == "首都是 北京"
