from __future__ import annotations

import pytest

from mayo_data.phi.training.templates import FORMS, PLAIN, Slot, Template, TemplateError, load, parse


def test_a_file_is_cut_at_its_heads_and_slots_are_read_with_number_form_and_case():
    text = "%% a | caps\nDr. [[STAFF#2:last|upper]]'s pt\n\t[[MRN]]\n\n%% b\n[[DATE:mdy]]\n"
    first, second = parse(text, "folder/ed_note.txt")
    assert (first.type, first.slug, first.style) == ("ed_note", "a", "caps")
    assert first.parts == ("Dr. ", Slot("STAFF", 2, "last", "upper"), "'s pt\n\t", Slot("MRN", 0, "", ""), "\n")
    assert second.style == ""
    assert second.parts[0] == Slot("DATE", 0, "mdy", "")


@pytest.mark.parametrize(
    ("body", "line", "what"),
    [
        ("%% a | x\nok\n[[DOCTOR]]\n", 3, "no category"),
        ("%% a | x\n[[STAFF:mdy]]\n", 2, "no form"),
        ("%% a | x\n[[STAFF\n", 2, "not closed"),
        ("%% a | x\n[[STAFF:last|title]]\n", 2, "not of the form"),
        ("%% a | x\nhi\n%% a | y\nho\n", 3, "slug of its own"),
        ("%% A B | x\nhi\n", 1, "slug"),
        ("stray\n%% a | x\nhi\n", 1, "before the first"),
    ],
)
def test_an_error_names_file_and_line_and_can_be_noted_instead(body, line, what):
    with pytest.raises(TemplateError, match=what) as caught:
        parse(body, "f.txt")
    assert str(caught.value).startswith(f"f.txt:{line}: ")
    problems: list[str] = []
    parse(body, "f.txt", problems)
    assert problems == [str(caught.value)]


def test_the_split_depends_on_type_and_slug_alone():
    one = Template("ed", "a", "x", ("text",))
    assert one.split == Template("ed", "a", "y", ()).split
    splits = [Template("ed", f"s{at}", "", ()).split for at in range(2000)]
    assert 1600 < splits.count("train") < 1800
    assert min(splits.count("dev"), splits.count("test")) > 90


def test_the_templates_of_the_project_are_sound_and_use_every_category():
    found = load()
    assert len(found) > 500
    used = {part.category for template in found for part in template.parts if isinstance(part, Slot)}
    assert used <= set(FORMS)
    assert set(FORMS) - used <= PLAIN
