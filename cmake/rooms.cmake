# Rooms: a folder of sources becomes ROOM, ROOM_algo and ROOM_host, by name.

# What a file may touch is the last part of its name; this says which library
# that means.  "-" means libc alone.
set(DOORS
  gnutls=gnutls xxh=libxxhash pb=@nanopb lz4=liblz4 zstd=libzstd uv=libuv
  posix=- lmdb=@lmdb git2=libgit2 inotify=- fanotify=- ngtcp2=@ngtcp2
  upnp=miniupnpc natpmp=@natpmp sodium=libsodium mhd=libmicrohttpd http=libmicrohttpd
  curl=libcurl expat=expat qrencode=libqrencode
  jansson=jansson seccomp=libseccomp landlock=- systemd=libsystemd unistring=@unistring main=-)

# Doors to libraries without I/O: may stand in the simulator.
set(ALGO_FILES
  hash_xxh digest_gnutls nfc_unistring compress_lz4 compress_zstd message_pb
  textmerge_git2 finder_jansson disco_jansson sign_sodium pake_sodium)

# The imported target of a pkg-config module, looked up once.
function(pkg_target module out)
  string(MAKE_C_IDENTIFIER "PC_${module}" var)
  if(NOT TARGET PkgConfig::${var})
    pkg_check_modules(${var} REQUIRED IMPORTED_TARGET GLOBAL ${module})
  endif()
  set(${out} PkgConfig::${var} PARENT_SCOPE)
endfunction()

# The door of a file: its suffix, or "" for a pure file.  A second word after
# posix is allowed: fs_posix_walk.c.
function(door_of name out)
  set(${out} "" PARENT_SCOPE)
  foreach(door IN LISTS DOORS)
    string(REGEX REPLACE "=.*" "" suffix ${door})
    if(name MATCHES "_${suffix}$" OR
        (suffix STREQUAL "posix" AND name MATCHES "_posix_[a-z0-9]+$"))
      set(${out} ${suffix} PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

# Link `target` with what the door `suffix` opens to.
function(door_link target suffix)
  foreach(door IN LISTS DOORS)
    if(NOT door MATCHES "^${suffix}=(.*)$")
      continue()
    endif()
    set(module ${CMAKE_MATCH_1})
    if(module STREQUAL "@nanopb")
      find_library(NANOPB_LIBRARY protobuf-nanopb REQUIRED)
      find_path(NANOPB_INCLUDE_DIR pb_decode.h PATH_SUFFIXES nanopb REQUIRED)
      target_link_libraries(${target} PUBLIC ${NANOPB_LIBRARY})
      target_include_directories(${target} SYSTEM PUBLIC ${NANOPB_INCLUDE_DIR})
    elseif(module STREQUAL "@lmdb")
      find_library(LMDB_LIBRARY lmdb REQUIRED)
      find_path(LMDB_INCLUDE_DIR lmdb.h REQUIRED)
      target_link_libraries(${target} PUBLIC ${LMDB_LIBRARY})
      target_include_directories(${target} PUBLIC ${LMDB_INCLUDE_DIR})
    elseif(module STREQUAL "@unistring")
      find_library(UNISTRING_LIBRARY unistring REQUIRED)
      find_path(UNISTRING_INCLUDE_DIR uninorm.h REQUIRED)
      target_link_libraries(${target} PUBLIC ${UNISTRING_LIBRARY})
      target_include_directories(${target} PUBLIC ${UNISTRING_INCLUDE_DIR})
    elseif(module STREQUAL "@natpmp")
      find_library(NATPMP_LIBRARY natpmp REQUIRED)
      find_path(NATPMP_INCLUDE_DIR natpmp.h REQUIRED)
      target_link_libraries(${target} PUBLIC ${NATPMP_LIBRARY})
      target_include_directories(${target} PUBLIC ${NATPMP_INCLUDE_DIR})
    elseif(module STREQUAL "@ngtcp2")
      foreach(half libngtcp2_crypto_gnutls libngtcp2 gnutls)
        pkg_target(${half} lib)
        target_link_libraries(${target} PUBLIC ${lib})
      endforeach()
    elseif(NOT module STREQUAL "-")
      pkg_target(${module} lib)
      target_link_libraries(${target} PUBLIC ${lib})
    endif()
  endforeach()
endfunction()

# A static library that may have no file yet.
function(room_library target flags)
  set(sources ${ARGN})
  if(NOT sources)
    set(sources ${CMAKE_BINARY_DIR}/empty_${target}.c)
    file(CONFIGURE OUTPUT ${sources}
      CONTENT "typedef int empty_${target};\n" @ONLY)
  endif()
  add_library(${target} STATIC ${sources})
  target_link_libraries(${target} PRIVATE ${flags})
endfunction()

add_custom_target(rooms)

# room(NAME FOLDER [BELOW ROOM...]): the libraries of one folder.
function(room name folder)
  cmake_parse_arguments(ARG "" "" "BELOW" ${ARGN})
  file(GLOB files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.c)
  set(pure "")
  set(algo "")
  set(host "")
  set(algo_doors "")
  set(host_doors "")
  foreach(file IN LISTS files)
    get_filename_component(base ${file} NAME_WE)
    door_of(${base} door)
    if(base IN_LIST ALGO_FILES)
      list(APPEND algo ${file})
      list(APPEND algo_doors ${door})
    elseif(door)
      list(APPEND host ${file})
      list(APPEND host_doors ${door})
    else()
      list(APPEND pure ${file})
    endif()
    set_property(GLOBAL PROPERTY ROOM_OF_${base} ${name})
  endforeach()

  room_library(${name} holdfast_pure ${pure})
  room_library(${name}_algo holdfast_door ${algo})
  room_library(${name}_host holdfast_door ${host})
  add_dependencies(rooms ${name} ${name}_algo ${name}_host)
  # map.c hashes and hash_xxh.c allocates: the two need each other.
  target_link_libraries(${name} PUBLIC ${name}_algo ${ARG_BELOW})
  target_link_libraries(${name}_algo PUBLIC ${name})
  target_link_libraries(${name}_host PUBLIC ${name} Threads::Threads)
  foreach(room IN LISTS ARG_BELOW)
    target_link_libraries(${name}_host PUBLIC ${room}_host)
  endforeach()

  list(REMOVE_DUPLICATES algo_doors)
  list(REMOVE_DUPLICATES host_doors)
  foreach(door IN LISTS algo_doors)
    door_link(${name}_algo ${door})
  endforeach()
  foreach(door IN LISTS host_doors)
    door_link(${name}_host ${door})
  endforeach()
endfunction()
