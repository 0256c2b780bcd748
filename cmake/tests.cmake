# Unit tests, the simulator, fuzz targets.

# The room of a test's subject: test_message_golden.c belongs to message.c.
# "" when no source has that name.
function(room_of subject out door_out)
  set(${out} "" PARENT_SCOPE)
  set(${door_out} "" PARENT_SCOPE)
  set(name ${subject})
  while(TRUE)
    get_property(room GLOBAL PROPERTY ROOM_OF_${name})
    if(room)
      door_of(${name} door)
      if(name IN_LIST ALGO_FILES)
        set(door "")
      endif()
      set(${out} ${room} PARENT_SCOPE)
      set(${door_out} "${door}" PARENT_SCOPE)
      return()
    endif()
    if(NOT name MATCHES "_")
      return()
    endif()
    string(REGEX REPLACE "_[^_]*$" "" name ${name})
  endwhile()
endfunction()

# Link a test with the room of its subject; with everything when in doubt.
function(link_subject target subject)
  room_of(${subject} room door)
  if(NOT room OR room STREQUAL "cli")
    target_link_libraries(${target} PRIVATE cli)
  elseif(door)
    target_link_libraries(${target} PRIVATE ${room}_host)
  else()
    target_link_libraries(${target} PRIVATE ${room})
  endif()
  if(TARGET testlib AND NOT room MATCHES "^(base|blockproto)$")
    target_link_libraries(${target} PRIVATE testlib)
  endif()
endfunction()

pkg_check_modules(CMOCKA IMPORTED_TARGET cmocka)

file(GLOB testlib_files CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/tests/unit/testlib*.c)
if(testlib_files AND CMOCKA_FOUND)
  add_library(testlib STATIC ${testlib_files})
  target_link_libraries(testlib PUBLIC engine PkgConfig::CMOCKA
    PRIVATE holdfast_door)
endif()

# For hangs only: a loaded machine with two cores and a sanitizer is slow, and
# an emulator is slower.
set(TEST_TIMEOUT 900)
if(CMAKE_CROSSCOMPILING)
  set(TEST_TIMEOUT 3600)
endif()

# Tests find their data through SOURCE_TESTS and write into the build only.
file(GLOB test_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/test_*.c)
if(NOT CMOCKA_FOUND OR HOLDFAST_FUZZ)
  set(test_files "")
endif()
foreach(file IN LISTS test_files)
  get_filename_component(target ${file} NAME_WE)
  string(REGEX REPLACE "^test_" "" subject ${target})
  add_executable(${target} ${file})
  target_link_libraries(${target} PRIVATE holdfast_door PkgConfig::CMOCKA)
  target_compile_definitions(${target} PRIVATE
    SOURCE_TESTS="${CMAKE_SOURCE_DIR}/tests")
  link_subject(${target} ${subject})
  add_test(NAME ${target} COMMAND ${target}
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
  set_tests_properties(${target} PROPERTIES TIMEOUT ${TEST_TIMEOUT})
endforeach()
add_custom_target(units)
if(test_files)
  foreach(file IN LISTS test_files)
    get_filename_component(target ${file} NAME_WE)
    add_dependencies(units ${target})
  endforeach()
endif()

# The simulator sees no door: what needs the world does not link.  All of it but
# main() is a library, for the fuzz target.
file(GLOB sim_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/sim/*.c)
list(FILTER sim_files EXCLUDE REGEX "/sim_main\\.c$")
add_library(simlib STATIC ${sim_files})
target_link_libraries(simlib PUBLIC engine mesh PRIVATE holdfast_door)
if(NOT HOLDFAST_FUZZ)
  add_executable(sim ${CMAKE_SOURCE_DIR}/tests/sim/sim_main.c)
  target_link_libraries(sim PRIVATE holdfast_door simlib)
endif()

# Disks that lose their power, for tests/power/run.py.
file(GLOB power_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/power/*.c)
list(FILTER power_files EXCLUDE REGEX "_preload\\.c$")
if(power_files AND NOT HOLDFAST_FUZZ)
  add_executable(powerdisk ${power_files})
  target_link_libraries(powerdisk PRIVATE holdfast_door)
  add_library(noflush MODULE
    ${CMAKE_SOURCE_DIR}/tests/power/noflush_preload.c)
  target_link_libraries(noflush PRIVATE holdfast_door)
  set_target_properties(noflush PROPERTIES PREFIX "")
  add_dependencies(powerdisk noflush)
endif()

# The long way of `./dev bench --mesh`.
if(NOT HOLDFAST_FUZZ)
  add_executable(longway ${CMAKE_SOURCE_DIR}/tests/bench/longway.c)
  target_link_libraries(longway PRIVATE holdfast_door)
endif()

# A fuzz target runs for hours under the preset `fuzz`; everywhere else it is
# a test that feeds it its corpus once.
file(GLOB fuzz_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
set(replay ${CMAKE_SOURCE_DIR}/tests/fuzz/replay.c)
foreach(file IN LISTS fuzz_files)
  get_filename_component(target ${file} NAME_WE)
  string(REGEX REPLACE "^fuzz_" "" subject ${target})
  set(corpus ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${subject})
  if(HOLDFAST_FUZZ)
    add_executable(${target} ${file})
    target_link_options(${target} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(${target} ${file} ${replay})
    add_test(NAME ${target} COMMAND ${target} ${corpus})
    set_tests_properties(${target} PROPERTIES TIMEOUT ${TEST_TIMEOUT})
    add_dependencies(units ${target})
  endif()
  # LLVMFuzzerTestOneInput is declared by nobody.
  target_compile_options(${target} PRIVATE -Wno-missing-prototypes)
  target_link_libraries(${target} PRIVATE holdfast_door)
  if(subject STREQUAL "history")
    target_link_libraries(${target} PRIVATE simlib)
  else()
    link_subject(${target} ${subject})
  endif()
endforeach()
