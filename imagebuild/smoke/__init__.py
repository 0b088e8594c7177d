"""The trial of a host against the release criteria, in the order of use.

`trial` has what goes in: subject, bench, promise and scope. `attempts` runs pytest on it, as often as the
scope says; in that process `suite` has the guests that criteria ask for: `guest` (one machine through all its
boots, watched by `boot`), `first_boot`, `host` (the words of the host under test) and `journey` (from release
to release, which `releases` serves); or `saved_boot` has one that goes on. `identity` carries over what is
known of the same disk, `cells` keeps what was found between runs, `verdict` is the file that comes out,
`waivers` says what may be released all the same.

`installation` is how a disk gets out of an installer ISO, `any_image` how an image of unknown origin becomes
a subject, `look` how a person gets at a guest that failed. Kinds of host, storage profiles and criteria are
registered in `hosts/`, `storage/` and `criteria/`: a module and a line of its `registry`.
"""
