/*
 * The table of reason codes.
 *
 * One row a code.  Names are an interface and never change meaning; texts are
 * for people and may get better.  Texts speak of "it": the path, folder or
 * device that status or explain names beside them.
 */
#include "engine/reason.h"

#include "engine/base/assert.h"

struct reason_row {
	const char *name;
	enum reason_severity severity;
	const char *what;
	const char *effect;
	const char *todo; /* NULL: nothing but to wait */
};

static const struct reason_row reason_table[REASON_COUNT] = {
	[REASON_NONE] = { "none", REASON_INFO, "Everything is in order.",
	    "None.", NULL },

	/* A path. */
	[REASON_QUEUED] = { "queued", REASON_INFO, "It waits for its turn.",
	    "The old version stays until the new one is here.", NULL },
	[REASON_RECEIVING] = { "receiving", REASON_INFO,
	    "Its data is on the way.",
	    "The old version stays until the new one is complete.", NULL },
	[REASON_NO_SOURCE] = { "no-source", REASON_INFO,
	    "No connected device has this version.",
	    "The old version stays; the new one comes when a device that has "
	    "it is back.",
	    "syncctl device list" },
	[REASON_LOCAL_CHANGED] = { "local-changed", REASON_INFO,
	    "It was changed here while a newer version was on its way.",
	    "Nothing was overwritten; it is looked at again.", NULL },
	[REASON_CHANGING] = { "changing", REASON_INFO, "It keeps changing.",
	    "Other devices get it as soon as it rests.", NULL },
	[REASON_UNREADABLE] = { "unreadable", REASON_WARNING,
	    "syncd may not read it.",
	    "Other devices do not get it, and it is not taken for deleted.",
	    "Give the user of syncd the permission to read it." },
	[REASON_UNWRITABLE] = { "unwritable", REASON_WARNING,
	    "syncd may not change it, or the directory it is in.",
	    "The version here stays old.",
	    "Give the user of syncd the permission to write there." },
	[REASON_BAD_NAME] = { "bad-name", REASON_WARNING,
	    "Its name is not one that can be synced.",
	    "It stays on this device alone.",
	    "Rename it: UTF-8, no control characters." },
	[REASON_NAME_CLASH] = { "name-clash", REASON_WARNING,
	    "Its name is the same as another one's on this disk.",
	    "The other one is synced; this one stays where it is.",
	    "Rename one of the two where both are." },
	[REASON_NAME_TOO_LONG] = { "name-too-long", REASON_WARNING,
	    "Its name is longer than this disk allows.",
	    "It stays on the other devices.", "Give it a shorter name there." },
	[REASON_BAD_TYPE] = { "bad-type", REASON_INFO,
	    "It is a FIFO, a socket or a device, and these are not synced.",
	    "It stays on this device alone.", NULL },
	[REASON_NO_LINKS] = { "no-links", REASON_WARNING,
	    "This disk cannot hold symbolic links.",
	    "The link stays on the other devices.", NULL },
	[REASON_PARENT_BLOCKED] = { "parent-blocked", REASON_WARNING,
	    "Something that is no directory stands where its directory "
	    "should be.",
	    "It stays on the other devices.", "Move away what stands there." },
	[REASON_DIR_NOT_EMPTY] = { "dir-not-empty", REASON_WARNING,
	    "The directory was deleted elsewhere, but holds things here that "
	    "its deleter did not know.",
	    "Nothing of it is deleted.",
	    "Delete the directory, or touch it to keep it everywhere." },
	[REASON_IGNORED] = { "ignored", REASON_INFO, "An ignore rule hides it.",
	    "It is neither sent nor received.",
	    "syncctl folder ignore list %s" },
	[REASON_BAD_DATA] = { "bad-data", REASON_WARNING,
	    "The data that came did not match its hash.",
	    "The data was thrown away; the old version stays.",
	    "Check the disk of the device that sent it: syncctl events" },
	[REASON_IO_ERROR] = { "io-error", REASON_WARNING,
	    "The disk failed while reading or writing it.",
	    "The old version stays; it is tried again.",
	    "Look at the disk: dmesg, smartctl." },
	[REASON_BUSY] = { "busy", REASON_WARNING,
	    "The system had no room for it: files open or memory, or "
	    "another program holds it.",
	    "Nothing was changed; it is tried again in a moment.", NULL },
	[REASON_LOCALLY_CHANGED] = { "locally-changed", REASON_INFO,
	    "It was changed here, and the folder only receives.",
	    "The change stays here and nobody else gets it.",
	    "syncctl folder revert %s" },
	[REASON_SEND_ONLY] = { "send-only", REASON_INFO,
	    "It was changed elsewhere, and the folder only sends.",
	    "The version here stays as it is.", "syncctl folder override %s" },
	[REASON_CONFLICT] = { "conflict", REASON_WARNING,
	    "It was changed on two devices at once.",
	    "Both versions are kept; nothing is blocked.",
	    "syncctl conflict list %s" },

	/* A folder. */
	[REASON_STARTING] = { "starting", REASON_INFO,
	    "The folder is being opened.", "Nothing is changed yet.", NULL },
	[REASON_PAUSED] = { "paused", REASON_INFO, "Paused by a person.",
	    "Nothing is sent and nothing is received.",
	    "syncctl folder resume %s" },
	[REASON_ROOT_MISSING] = { "root-missing", REASON_STOPPED,
	    "The folder's directory is not there.",
	    "Nothing is deleted anywhere; other devices wait.",
	    "Mount the disk, or put the directory back: it resumes by "
	    "itself." },
	[REASON_MARKER_MISSING] = { "marker-missing", REASON_STOPPED,
	    "The folder's marker .stfolder is gone: perhaps its disk is not "
	    "mounted.",
	    "Nothing is deleted anywhere; other devices wait.",
	    "Mount the disk.  If this is the right directory, and nothing in "
	    "it is missing:  mkdir .stfolder.  If it is a new one:  "
	    "syncctl folder adopt %s" },
	[REASON_DISK_CHANGED] = { "disk-changed", REASON_STOPPED,
	    "Another file system than before is mounted there.",
	    "Nothing is deleted anywhere; other devices wait.",
	    "Mount the right disk.  To take the new one:  "
	    "syncctl folder adopt %s" },
	[REASON_ROOT_EMPTY] = { "root-empty", REASON_STOPPED,
	    "The folder's directory is empty, and it was not before.",
	    "Nothing is deleted anywhere; other devices wait.",
	    "Mount the disk or put the files back.  To have them sent here "
	    "again:  syncctl folder adopt %s" },
	[REASON_IGNORES_BAD] = { "ignores-bad", REASON_STOPPED,
	    "The folder's ignore rules cannot be read.",
	    "Nothing is sent and nothing is received until they can.",
	    "Correct .stignore; the folder resumes by itself." },
	[REASON_DISK_FULL] = { "disk-full", REASON_STOPPED, "The disk is full.",
	    "Nothing more is received; what is here stays whole.",
	    "Make room; the folder resumes by itself." },
	[REASON_READ_ONLY_DISK] = { "read-only-disk", REASON_STOPPED,
	    "The disk has become read-only.",
	    "Nothing is received; the kernel may have seen it fail.",
	    "Look at dmesg, repair it, mount it for writing." },
	[REASON_INDEX_DAMAGED] = { "index-damaged", REASON_STOPPED,
	    "The folder's index was damaged; it is set aside and made again.",
	    "Nothing is deleted; files are read once more.", NULL },
	[REASON_WATCH_LIMIT] = { "watch-limit", REASON_WARNING,
	    "The system allows too few watches for all directories.",
	    "Some changes are seen only at the next rescan.",
	    "sysctl fs.inotify.max_user_watches=1048576" },
	[REASON_WATCH_FAILED] = { "watch-failed", REASON_WARNING,
	    "The folder cannot be watched for changes.",
	    "Changes are seen only at the next rescan.",
	    "syncctl folder scan %s" },
	[REASON_MASS_CHANGE] = { "mass-change", REASON_STOPPED,
	    "A device wants to delete or rewrite much of the folder at once.",
	    "Nothing of that is done here until someone decides; all other "
	    "changes go on.",
	    "syncctl plan %s  lists it;  then  syncctl folder confirm  or  "
	    "syncctl folder reject" },
	[REASON_TRASH_FAILED] = { "trash-failed", REASON_WARNING,
	    "Nothing can be put in the folder's trash can.",
	    "What others delete or replace waits until it can; nothing is "
	    "lost.",
	    "Make .stversions in the folder a directory of its disk that "
	    "syncd may write to, or do without:  syncctl config set "
	    "folder.%s.trash false" },
	[REASON_LOW_SPACE] = { "low-space", REASON_WARNING,
	    "Its disk is nearly full.",
	    "Everything goes on until nothing fits any more; then the folder "
	    "stops receiving.",
	    "Make room, or move the limit:  syncctl config set "
	    "folder.%s.low-space SIZE" },
	[REASON_SINGLE_COPY] = { "single-copy", REASON_WARNING,
	    "No other device has all of it.",
	    "If this disk fails now, what the others lack is gone.",
	    "Start one of its devices, or move the limit:  syncctl config set "
	    "folder.%s.single-copy 7d" },

	/* A device. */
	[REASON_OFFLINE] = { "offline", REASON_INFO, "It is not connected.",
	    "It gets what it lacks when it is back.", NULL },
	[REASON_PEER_PAUSED] = { "peer-paused", REASON_INFO,
	    "It paused the folder.", "It gets what it lacks when it goes on.",
	    NULL },
	[REASON_PEER_NOT_SHARING] = { "peer-not-sharing", REASON_INFO,
	    "It does not share the folder with us.", "It gets nothing of it.",
	    "Accept the folder on that device." },
	[REASON_PROTOCOL] = { "protocol", REASON_WARNING,
	    "It broke the protocol, and the connection was ended.",
	    "Nothing it said last was believed.",
	    "Update the software there; syncctl events says more." },
	[REASON_NO_DIRECT_WAY] = { "no-direct-way", REASON_INFO,
	    "No address of the device itself is known.",
	    "What goes to it takes the way through the relay.",
	    "syncctl device show %s" },
	[REASON_DIRECT_FAILED] = { "direct-failed", REASON_INFO,
	    "Nothing answered at the addresses that are known of it.",
	    "What goes to it takes the way through the relay.",
	    "syncctl device show %s" },
	[REASON_DIRECT_UNTRIED] = { "direct-untried", REASON_INFO,
	    "Its own addresses are being tried.",
	    "Until one answers, the way leads through the relay.", NULL },

	/* A dial. */
	[REASON_DIAL_REFUSED] = { "dial-refused", REASON_INFO,
	    "The machine is there, but nothing listens at that port.",
	    "This way is tried again; others are not affected.",
	    "Is syncd running there, and is it this port?" },
	[REASON_DIAL_TIMEOUT] = { "dial-timeout", REASON_INFO,
	    "No answer came.",
	    "This way is tried again; others are not affected.",
	    "Is it switched on?  Does a firewall or router drop what comes?" },
	[REASON_DIAL_UNREACHABLE] = { "dial-unreachable", REASON_INFO,
	    "No route leads to that address from here.",
	    "This way is tried again; others are not affected.", NULL },
	[REASON_DIAL_NO_NAME] = { "dial-no-name", REASON_INFO,
	    "The name has no address.",
	    "This way is tried again; others are not affected.",
	    "Is the name right?  Does this machine's DNS work?" },
	[REASON_DIAL_OTHER_DEVICE] = { "dial-other-device", REASON_WARNING,
	    "Another device answers at that address.",
	    "It was told nothing, and this way leads nowhere.",
	    "Correct the address:  syncctl config set device.%s.address ..." },
	[REASON_DIAL_UNWANTED] = { "dial-unwanted", REASON_INFO,
	    "It answered and then hung up.",
	    "This way is tried again; others are not affected.",
	    "Does it know this device?  On it:  syncctl device list" },
	[REASON_DIAL_RELAY] = { "dial-relay", REASON_INFO,
	    "The relay is full, or the device does not wait there.",
	    "This way is tried again; others are not affected.", NULL },
	[REASON_OUTSIDE_SCOPE] = { "outside-scope", REASON_INFO,
	    "mesh.scope is lan, and this is no private address; names count "
	    "as such, for nobody knows before where they lead.",
	    "Nothing is sent there.",
	    "Give an address of the local network, or:  syncctl config set "
	    "mesh.scope any" },
	[REASON_DIAL_FAILED] = { "dial-failed", REASON_INFO,
	    "It failed; the text says how.",
	    "This way is tried again; others are not affected.", NULL },
	[REASON_FORWARD_DENIED] = { "forward-denied", REASON_INFO,
	    "The device there does not let this one use that port.",
	    "No connection is made.",
	    "There, with the name that this device has there:  syncctl config "
	    "set --add device.NAME.forward PORT" },
	[REASON_FORWARD_NOBODY] = { "forward-nobody", REASON_INFO,
	    "Nobody listens at that port of the device's own loopback.",
	    "No connection is made.",
	    "Start the service there, at 127.0.0.1, [::1] or all addresses" },
	[REASON_FORWARD_BUSY] = { "forward-busy", REASON_INFO,
	    "As many connections to that device are open as may be.",
	    "No connection is made.", "Close others" },
	[REASON_FORWARD_CLOSED] = { "forward-closed", REASON_INFO,
	    "The service there broke the connection off.",
	    "It is closed here, too.", NULL },
	[REASON_FORWARD_FAILED] = { "forward-failed", REASON_INFO,
	    "The device there could not connect.",
	    "No connection is made, or it is closed.", NULL },
	[REASON_FORWARD_LOST] = { "forward-lost", REASON_INFO,
	    "The devices are not connected any more, or by another way now.",
	    "What was carried over that connection is closed.",
	    "Connect again" },
	[REASON_FORWARD_UNSPOKEN] = { "forward-unspoken", REASON_INFO,
	    "The device's program does not carry connections.",
	    "No connection is made.",
	    "Install a newer Holdfast there; a Syncthing carries none" },
	[REASON_UDP_BLOCKED] = { "udp-blocked", REASON_INFO,
	    "UDP does not get out of the network this device is in.",
	    "What goes to it takes the way through the relay.",
	    "syncctl netcheck" },
	[REASON_UDP_BLOCKED_THERE] = { "udp-blocked-there", REASON_INFO,
	    "UDP does not get out of the network that device is in.",
	    "What goes to it takes the way through the relay.", NULL },
	[REASON_HARD_NAT_BOTH] = { "hard-nat-both", REASON_INFO,
	    "Both routers give a device another port for each it speaks with.",
	    "What goes to it takes the way through the relay.",
	    "Allow port mapping or IPv6 on one of the routers." },
	[REASON_HARD_NAT] = { "hard-nat", REASON_INFO,
	    "One router gives a device another port for each it speaks with, "
	    "and none of those that were guessed was right.",
	    "What goes to it takes the way through the relay; it is tried "
	    "again.",
	    NULL },
	[REASON_NO_ANSWER] = { "no-answer", REASON_INFO,
	    "Both sent probes at the same moment, and none came through.",
	    "What goes to it takes the way through the relay; it is tried "
	    "again.",
	    "syncctl netcheck" },
	[REASON_ASLEEP] = { "asleep", REASON_INFO,
	    "Nothing was to be said, and both let go of the connection.",
	    "The next change, here or there, wakes it within seconds.",
	    "syncctl ping %s" },
	[REASON_SLOW_PATH] = { "slow-path", REASON_WARNING,
	    "It has been reached through a relay only for a while.",
	    "Everything arrives, as fast as the relay lets it.",
	    "syncctl netcheck  tells what stands in the way; to live with it:  "
	    "syncctl config set device.%s.max-relayed 0" },
	[REASON_CLONE] = { "clone", REASON_WARNING,
	    "Another machine has this device's key, and is there now.",
	    "Others find the one or the other, and which changes.",
	    "In the copy's home, and start it again there:  rm cert.pem "
	    "key.pem" },
	[REASON_STALE] = { "stale", REASON_WARNING,
	    "It was not seen for longer than its max-silence.",
	    "What was changed meanwhile has not reached it.",
	    "Start it, or raise the limit:  syncctl config set "
	    "device.%s.max-silence 30d" },

	/* The configuration. */
	[REASON_REFUSED] = { "refused", REASON_WARNING,
	    "The configuration has mistakes.",
	    "The configuration as it was before is in force.",
	    "syncctl config check" },
};

static const struct reason_row *
reason_at(enum reason r)
{
	ASSERT((unsigned)r < REASON_COUNT);
	ASSERT(reason_table[r].name != NULL);
	return &reason_table[r];
}

const char *
reason_name(enum reason r)
{
	return reason_at(r)->name;
}

const char *
reason_what(enum reason r)
{
	return reason_at(r)->what;
}

const char *
reason_effect(enum reason r)
{
	return reason_at(r)->effect;
}

const char *
reason_do(enum reason r)
{
	return reason_at(r)->todo;
}

enum reason_severity
reason_severity(enum reason r)
{
	return reason_at(r)->severity;
}

bool
reason_is_of_root(enum reason r)
{
	return r == REASON_MARKER_MISSING || r == REASON_DISK_CHANGED ||
	       r == REASON_ROOT_EMPTY;
}
