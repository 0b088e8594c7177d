"""An installer ISO of anybody's, turned into an unattended one.

`remaster` takes an image and a kickstart and writes a copy whose menus have an entry that boots it: `entry`
says what that is, `grub_edit` and `isolinux_edit` put it where it belongs, `menu_facts` tells what an image's
menus do.
"""
