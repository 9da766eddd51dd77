"""`grade`: who gets which state, and that no submission harms whoever marks it."""

import json
import os
import subprocess
import sys

import pytest

from labsupport.commands import grade, notebooks
from labsupport.commands.faults import Fault

LAB = notebooks.FOLDER / "05_occlusion.ipynb"


def test_the_points_are_those_of_the_table_that_a_teacher_edits(tmp_path):
    place = tmp_path / "points.csv"
    assert grade.points(place, ["05.2", "05.1"]) == {"05.1": 1.0, "05.2": 1.0}
    place.write_text("exercise,points\n05.1,2.5\n05.2,0\n")
    assert grade.points(place, ["05.2", "05.1"]) == {"05.1": 2.5, "05.2": 0.0}
    with pytest.raises(Fault, match=r"no points for 05\.3"):
        grade.points(place, ["05.3"])
    place.write_text("05.1,two\n")
    with pytest.raises(Fault, match="two"):
        grade.points(place, ["05.1"])


def test_a_text_that_begins_like_a_formula_is_none_in_the_table(tmp_path):
    grade.write_table([grade.Mark("=cmd()", "05.1", "wrong", "-1 is not 1")], tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[1] == "'=cmd(),05.1,wrong,0,'-1 is not 1"


def test_who_handed_in_what_follows_from_the_files(tmp_path):
    labs = [grade.Lab.of(path) for path in notebooks.chosen(["05", "13"])]
    text = LAB.read_text("utf-8")
    places = ["lee/3/any name.ipynb", "kim_05_occlusion.ipynb", "lee/.ipynb_checkpoints/a.ipynb"]
    for age, place in enumerate(["lee/old.ipynb", *places]):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_text(text, "utf-8")
        os.utime(tmp_path / place, (age, age))
    (tmp_path / "notes.ipynb").write_text(json.dumps({"cells": []}))
    found = grade.submissions(tmp_path, labs, every=True)
    assert [(one.student, one.lab.name[:2], one.path and one.path.name) for one in found] == [
        ("kim", "05", "kim_05_occlusion.ipynb"),
        ("kim", "13", None),
        ("lee", "05", "any name.ipynb"),
        ("lee", "13", None),
    ]
    (tmp_path / "notes.ipynb").unlink()
    with pytest.raises(Fault, match="no notebook of 13_linear"):
        grade.submissions(tmp_path, labs[1:], every=False)


@pytest.mark.parametrize(
    "action",
    [
        "open(OUT, 'w')",
        "open(OUT, 'r+')",
        "os.open(OUT, os.O_WRONLY)",
        "os.remove(OUT)",
        "os.rename('in', OUT)",
        "os.symlink(OUT, '/tmp/a link') ",
        "os.mkdir(OUT + 'd')",
        "subprocess.run(['true'])",
        "os.fork()",
        "os.kill(os.getppid(), 0)",
        "socket.socket().connect(('127.0.0.1', 9))",
        "socket.getaddrinfo('localhost', 80)",
    ],
)
def test_the_fence_refuses_in_words_and_leaves_the_folder_open(tmp_path, action):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.write_text("kept")
    code = f"""
import os, pathlib, socket, subprocess, sys
from labsupport.commands import fences
OUT = {str(outside)!r}
fences.enclose(pathlib.Path({str(inside)!r}))
open("in", "w").write("mine"); os.rename("in", "mine"); open(OUT).read(); open(os.devnull, "w")
try:
    {action}
except PermissionError as refused:
    print(refused)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=inside, capture_output=True, text=True, check=False
    )
    assert "while it is marked" in done.stdout, done.stderr
    assert (inside / "mine").read_text() == "mine"
    assert outside.read_text() == "kept"


@pytest.mark.skipif(sys.platform != "linux", reason="Landlock is the kernel of Linux's")
def test_the_kernel_refuses_also_what_does_not_ask_python(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.write_text("kept")
    code = f"""
import ctypes, pathlib, os
from labsupport.commands import fences
sees = ctypes.CDLL(None, use_errno=True)
if sees.syscall(fences._CREATE, None, 0, 1) < 1:
    print("no Landlock")
else:
    fences._landlock(pathlib.Path({str(inside)!r}))
    print(sees.unlink({str(outside)!r}.encode()), sees.kill(os.getppid(), 9))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() in ("-1 -1", "no Landlock")
    assert outside.read_text() == "kept"
