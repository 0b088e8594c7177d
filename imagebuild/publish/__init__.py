"""From tested artifacts to a release that is out, and back.

    material -> numbers, names -> assemble -> promote -> (demote, prune)

`assemble` puts a directory together: `fitness` says whether it may, `downloads` links what was tested,
`description` (`facts`), `documents` (`metadata`, `changes` of `packages` and their `changelogs`) and
`page` (`trends`, `index`) tell of it, `growth` compares it with the release before, `signing` signs it,
`page_check` reads the page again. `layout` says where what is an architecture's own lies; where a compose
holds several, `joint` makes what is of all of them out of the part of each. `promote` sends it out:
`admission` checks it, `stable` is the repository that hosts follow, `pointers` say which release is the
latest, `marks` which are bad. `verify` asks whether a published release is what was signed
(`description_check`: and whether what it says of itself is true; `opened`: also inside of images;
`findings`: what is wrong). Only directories that a release or a destination is in are written to.
"""
