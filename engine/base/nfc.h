/*
 * Unicode's composed form, NFC: the one spelling a name has on the wire.
 *
 * "u" followed by a combining diaeresis and the one character "ü" look the same
 * and are different bytes.  BEP-FACTS.md 6.1: names go over the wire in NFC.
 * Which Unicode version that means is the library's; a name of characters
 * newer than it is left as it is.  Pure: no locale, no I/O.
 */
#ifndef HOLDFAST_BASE_NFC_H
#define HOLDFAST_BASE_NFC_H

#include <stdbool.h>

#include "engine/base/arena.h"
#include "engine/base/slice.h"

/* Is `s`, which is valid UTF-8, in NFC?  ASCII is, and costs next to nothing.
 */
bool nfc_is(struct slice s);
/*
 * `s`, which is valid UTF-8, in NFC: `s` itself when it is, else a copy in
 * `arena`.  It may be longer than `s`: check a path again.
 */
struct slice nfc_of(struct slice s, struct arena *arena);

#endif
