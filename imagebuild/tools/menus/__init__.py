"""Boot menus as their programs read them: isolinux' and GRUB's languages, the keys that choose an entry.

A `medium` is opened and says how each firmware starts on it; what comes out is a `menu.Menu`, whatever
language it was written in. Nothing is changed here (installers/unattended does that).

- isolinux_parts, isolinux_config, isolinux_menu: one language, from its words to the menu
- grub_words, grub_script, grub_commands, grub_test, grub_machine, grub_choice, grub_menu: the other one
- keys: what is pressed to reach an entry
"""
