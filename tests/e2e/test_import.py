"""Moving from Syncthing to us with one command."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lib import node, tree
from lib.bep import Identity
from lib.node import Node
from lib.proc import wait_until
from lib.world import FOLDER, World


def bare_node(world: World, name: str) -> Node:
    """A node whose home is still empty: no identity, no configuration."""
    made = world.node(name, start=False)
    shutil.rmtree(made.home)
    return made


def test_everything_is_taken_over(world: World) -> None:
    theirs = world.syncthing("old")
    friend, third = Identity.make().id, Identity.make().id
    theirs.device_add(friend, "friend", "tcp://192.0.2.7:22000",
                      introducer=True)
    theirs.device_add(third, "third one", paused=True,
                      autoAcceptFolders=True)
    dirs = {"docs": world.dir("docs"), "music": world.dir("music"),
            "photos": world.dir("photos")}
    tree.write(dirs["docs"] / "a", b"a")
    tree.write(dirs["docs"] / ".stignore", b"*.tmp\n#include more\n")
    tree.write(dirs["docs"] / "more", b"*.bak\n")
    theirs.folder_add("docs", dirs["docs"], [friend, third], label="Papers",
                      versioning={"type": "trashcan",
                                  "params": {"cleanoutDays": "365"}})
    theirs.folder_add("music", dirs["music"], [friend], mode="receiveonly")
    theirs.folder_add("photos", dirs["photos"], [third], mode="sendonly",
                      paused=True)
    their_id = theirs.id
    theirs.stop()
    made = bare_node(world, "new")
    told = made.ctl("import-syncthing", str(theirs.home), "--dry-run",
                    env={"TMPDIR": str(world.dir("tmp"))})
    assert f"folder.docs.path={dirs['docs']}\n" in told.out
    assert not made.home.exists(), "nothing is left"
    assert not os.listdir(world.dir("tmp"))
    made.ctl("import-syncthing", str(theirs.home))
    assert made.ctl("id").out.strip() == their_id
    devices = {d["name"]: d
               for d in made.ctl("device", "list", "--json").json["devices"]}
    assert {"friend", "third one"} <= devices.keys()
    assert devices["friend"]["id"] == friend
    assert made.ctl("config", "get", "device.friend.address").out.strip() \
        == "tcp://192.0.2.7:22000"
    assert made.ctl("config", "get",
                    "device.friend.introducer").out.strip() == "true"
    assert made.ctl("config", "get",
                    "device.third one.paused").out.strip() == "true"
    for folder, mode in (("docs", "sendreceive"), ("music", "receiveonly"),
                         ("photos", "sendonly")):
        shown = made.ctl("folder", "show", folder).out
        assert mode in shown and str(dirs[folder]) in shown
    assert "Papers" in made.ctl("folder", "show", "docs").out
    assert made.ctl("config", "get",
                    "folder.docs.trash-age").out.strip() == "365d"
    assert made.ctl("config", "get",
                    "folder.photos.paused").out.strip() == "true"
    assert (dirs["docs"] / ".stignore").read_bytes() == \
        b"*.tmp\n#include more\n"
    assert (theirs.home / "cert.pem").exists(), "nothing is taken away"
    made.ctl("config", "check")


def test_the_cluster_goes_on_without_a_conflict(world: World) -> None:
    old, friend = world.syncthing("old"), world.syncthing("friend")
    old.device_add(friend.id, "friend", friend.addr)
    friend.device_add(old.id, "old", "dynamic")
    dir_a, dir_b = world.dir("a"), world.dir("b")
    old.folder_add(FOLDER, dir_a, [friend.id])
    friend.folder_add(FOLDER, dir_b, [old.id])
    for n in range(30):
        tree.write(dir_a / f"d{n % 3}/{n}", tree.noise(50_000, n))
    old.wait_sync(FOLDER, friend.id)
    wait_until(lambda: tree.same(dir_a, dir_b), 60, "same before")
    before = tree.snapshot(dir_a)
    old.stop()
    made = bare_node(world, "new")
    made.ctl("import-syncthing", str(old.home))
    made.ctl("config", "set", "mesh.announce", "false")
    made.start()
    wait_until(lambda: friend.connected(old.id), 60, "same ID, connected",
               alive=[made, friend])
    wait_until(lambda: made.in_sync(FOLDER)
               and friend.in_sync(FOLDER, old.id), 60, "in sync")
    assert tree.snapshot(dir_a) == before
    assert not tree.conflicts(dir_a) + tree.conflicts(dir_b)
    tree.write(dir_a / "new", b"by ours")
    (dir_b / "d0/0").unlink()
    friend.scan(FOLDER)
    wait_until(lambda: tree.same(dir_a, dir_b)
               and (dir_b / "new").exists(), 60, "it goes on")


@pytest.mark.parametrize("kind", ["p384", "rsa3072", "ed25519"])
def test_every_key_they_make_is_taken(world: World, kind: str) -> None:
    from cryptography.hazmat.primitives import serialization
    identity = Identity.make(kind)
    home = world.dir("st")
    key = serialization.load_pem_private_key(identity.key_pem, None)
    form = serialization.PrivateFormat.PKCS8 if kind == "ed25519" \
        else serialization.PrivateFormat.TraditionalOpenSSL
    (home / "cert.pem").write_bytes(identity.cert_pem)
    (home / "key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, form, serialization.NoEncryption()))
    (home / "config.xml").write_text(f"""<configuration version="36">
  <device id="{identity.id}" name="me"><address>dynamic</address></device>
  <gui enabled="true"><address>127.0.0.1:8384</address></gui>
</configuration>""")
    made = bare_node(world, "new")
    made.ctl("import-syncthing", str(home))
    assert made.ctl("id").out.strip() == identity.id
    assert made.ctl("config", "get", "node.name").out.strip() == "me"
    made.ctl("config", "set", "mesh.listen", made.addr)
    made.ctl("config", "set", "mesh.announce", "false")
    made.start()


@pytest.mark.parametrize("text", [
    "", "<configuration", "not xml at all", "<other/>",
    "<configuration version='36'><device id='AAAA' name='x'/>"
    "</configuration>",
    "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'>"
    + "".join(f"<!ENTITY {c} '{('&' + p + ';') * 10}'>"
              for p, c in zip("abcdefgh", "bcdefghi"))
    + "]><configuration version='36'><device id='&i;' name='&i;'/>"
    "</configuration>",
    "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>"
    "<configuration version='36'><device id='x' name='&e;'/>"
    "</configuration>"],
    ids=["empty", "cut", "text", "other", "bad id", "entity bomb",
         "external entity"])
def test_a_bad_configuration_changes_nothing(world: World,
                                             text: str) -> None:
    identity = Identity.make()
    home = world.dir("st")
    (home / "cert.pem").write_bytes(identity.cert_pem)
    (home / "key.pem").write_bytes(identity.key_pem)
    (home / "config.xml").write_text(text)
    made = bare_node(world, "new")
    told = made.ctl("import-syncthing", str(home), check=False, timeout=20)
    assert told.code > 0 and told.err.strip(), str(told)
    assert open("/etc/hostname").read().strip() not in told.err
    assert not list(made.home.rglob("key.pem"))


def test_an_identity_in_use_is_not_overwritten(world: World) -> None:
    theirs = world.syncthing("old")
    theirs.stop()
    made = world.node("A", start=False)
    made.device_add(Identity.make().id, "x")
    told = made.ctl("import-syncthing", str(theirs.home), check=False)
    assert told.code != node.OK
    assert made.ctl("id").out.strip() == made.id


def test_no_directory_is_9(world: World) -> None:
    made = bare_node(world, "new")
    told = made.ctl("import-syncthing", str(world.base / "nowhere"),
                    check=False)
    assert told.code in (node.NOT_FOUND, node.FAILED)
    assert told.err.strip()


def test_without_a_directory_the_usual_place_is_taken(world: World) -> None:
    theirs = world.syncthing("old")
    their_id = theirs.id
    theirs.stop()
    usual = world.base / "person/.config/syncthing"
    usual.parent.mkdir(parents=True)
    os.rename(theirs.home, usual)
    made = bare_node(world, "new")
    made.ctl("import-syncthing", env={
        "HOME": str(world.base / "person"), "XDG_CONFIG_HOME": "",
        "XDG_STATE_HOME": ""})
    assert made.ctl("id").out.strip() == their_id
