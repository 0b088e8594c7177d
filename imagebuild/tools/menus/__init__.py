"""Boot menus as their programs read them: isolinux' and GRUB's languages, the keys that choose an entry."""
