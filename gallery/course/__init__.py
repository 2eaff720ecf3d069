"""The course: ten lessons in order, each one file of text, code and exercises with their solutions.

lessons/    the lessons in the percent format: the student's notebook, the solution and the page are made from them
checks/     one module a lesson: a function for each exercise, which compares an answer with the exact value
source.py   a lesson as cells, and as a notebook
grade.py    a student's file run statement by statement, and its answers checked
compare.py  comparisons that name the first wrong value
"""

from gallery.course.source import LESSONS, Cell, Lesson, lesson

__all__ = ["LESSONS", "Cell", "Lesson", "lesson"]
