# Compiler flags, as interface libraries that every target links privately.
#
#   holdfast_flags   what both of these share
#   holdfast_pure    for pure files: signs of integers are kept apart too
#   holdfast_door    for doors and programs: system headers are not that clean

add_library(holdfast_flags INTERFACE)
add_library(holdfast_pure INTERFACE)
add_library(holdfast_door INTERFACE)

target_compile_definitions(holdfast_flags INTERFACE
  HOLDFAST_VERSION="${PROJECT_VERSION}"
  $<$<BOOL:${HOLDFAST_MUTANTS}>:HOLDFAST_MUTANTS>)
target_include_directories(holdfast_flags INTERFACE ${CMAKE_SOURCE_DIR})
set(flags
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wmissing-prototypes
  -Wstrict-prototypes -Wswitch-enum -Wformat=2 -Wimplicit-fallthrough
  -Wundef -Wvla -Werror=format-security -fno-strict-aliasing
  # Our paths do not belong into programs.
  -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
if(HOLDFAST_WERROR)
  list(APPEND flags -Werror)
endif()

target_link_libraries(holdfast_pure INTERFACE holdfast_flags)
target_compile_options(holdfast_pure INTERFACE ${flags} -Wsign-conversion)

target_link_libraries(holdfast_door INTERFACE holdfast_flags)
target_compile_definitions(holdfast_door INTERFACE _GNU_SOURCE)
target_compile_options(holdfast_door INTERFACE ${flags}
  -Wno-sign-conversion
  $<$<C_COMPILER_ID:GNU>:-Wno-format-truncation>)

if(HOLDFAST_SANITIZE)
  add_compile_options(-fsanitize=${HOLDFAST_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${HOLDFAST_SANITIZE})
endif()
if(HOLDFAST_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# RELIABILITY.md 5.5, as far as this compiler goes: probe, do not assume.
if(HOLDFAST_HARDEN)
  foreach(flag
      -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
      -mbranch-protection=standard -fno-delete-null-pointer-checks
      -fno-strict-overflow -ftrivial-auto-var-init=zero
      -fstrict-flex-arrays=3)
    string(MAKE_C_IDENTIFIER "HAVE_CC${flag}" have)
    set(CMAKE_REQUIRED_FLAGS -Werror)
    check_c_compiler_flag(${flag} ${have})
    unset(CMAKE_REQUIRED_FLAGS)
    if(${have})
      add_compile_options(${flag})
    endif()
  endforeach()
  foreach(flag
      -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,nodlopen
      -Wl,--as-needed)
    string(MAKE_C_IDENTIFIER "HAVE_LD${flag}" have)
    check_linker_flag(C ${flag} ${have})
    if(${have})
      add_link_options(${flag})
    endif()
  endforeach()
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
