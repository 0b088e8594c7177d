"""What people look at: the report of a verdict, and the history of builds.

In come cells with the directories of their evidence (`page`, `junit`) or a store (`history`); out come
files. `matrix` arranges cells for any page, by `columns` and `groups`; `boots` are the bars of boot
phases; `templates` loads what lies in `templates/`. Nothing here decides anything: the page of a release
(publish/page.py) shows the same matrix.
"""
