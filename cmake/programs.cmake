# cli/: the library `cli`, and the two programs.  This room touches the world
# by nature (it prints, it asks), so all of it is built as doors are.

file(GLOB cli_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cli/*.c)
set(syncd_files ${cli_files})
set(cli_doors "")
list(FILTER syncd_files INCLUDE REGEX "/syncd[^/]*\\.c$")
list(FILTER cli_files EXCLUDE REGEX "/(syncd[^/]*|syncctl_main)\\.c$")
foreach(file IN LISTS cli_files syncd_files)
  get_filename_component(base ${file} NAME_WE)
  set_property(GLOBAL PROPERTY ROOM_OF_${base} cli)
  door_of(${base} door)
  list(APPEND cli_doors ${door})
endforeach()
list(REMOVE_DUPLICATES cli_doors)

room_library(cli holdfast_door ${cli_files})
target_link_libraries(cli PUBLIC
  engine engine_host watcher watcher_host mesh mesh_host)
foreach(door IN LISTS cli_doors ITEMS jansson mhd)
  door_link(cli ${door})
endforeach()

function(program name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE holdfast_door cli)
  if(HOLDFAST_SANITIZE STREQUAL "thread")
    target_sources(${name} PRIVATE
      ${CMAKE_SOURCE_DIR}/tests/tsan/syscall_tsan.c)
  endif()
  set_property(TARGET ${name} PROPERTY POSITION_INDEPENDENT_CODE ON)
endfunction()

set(PROGRAMS "")
if(EXISTS ${CMAKE_SOURCE_DIR}/cli/syncd_main.c)
  program(syncd ${syncd_files})
  door_link(cli systemd)
  list(APPEND PROGRAMS syncd)
endif()
if(EXISTS ${CMAKE_SOURCE_DIR}/cli/syncctl_main.c)
  program(syncctl ${CMAKE_SOURCE_DIR}/cli/syncctl_main.c)
  door_link(cli qrencode)
  list(APPEND PROGRAMS syncctl)
endif()
