# What a person installs, and the Debian package.

# Tests are not installed, so packaging does not build them.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)

install(TARGETS ${PROGRAMS} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# Install a file as Debian has it: packed, with neither name nor time within, so
# that the same sources give the same package.
find_program(GZIP gzip REQUIRED)
function(install_gzipped file name destination)
  set(packed ${CMAKE_BINARY_DIR}/gzipped/${name}.gz)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/gzipped)
  execute_process(COMMAND ${GZIP} -9nc ${file} OUTPUT_FILE ${packed}
    COMMAND_ERROR_IS_FATAL ANY)
  install(FILES ${packed} DESTINATION ${destination})
endfunction()

foreach(section 1 5 7)
  file(GLOB pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.${section})
  foreach(page IN LISTS pages)
    get_filename_component(name ${page} NAME)
    install_gzipped(${page} ${name} ${CMAKE_INSTALL_MANDIR}/man${section})
  endforeach()
endforeach()

# Units: packaging/systemd/system/* and user/*, or NAME.service for the system
# and user-NAME.service for the user, side by side.
set(systemd_dir lib/systemd)
foreach(kind system user)
  file(GLOB units CONFIGURE_DEPENDS
    ${CMAKE_SOURCE_DIR}/packaging/systemd/${kind}/*.service)
  if(units)
    install(FILES ${units} DESTINATION ${systemd_dir}/${kind})
  endif()
endforeach()
file(GLOB units CONFIGURE_DEPENDS
  ${CMAKE_SOURCE_DIR}/packaging/systemd/*.service)
foreach(unit IN LISTS units)
  get_filename_component(name ${unit} NAME)
  if(name MATCHES "^user-(.*)$")
    install(FILES ${unit} DESTINATION ${systemd_dir}/user
      RENAME ${CMAKE_MATCH_1})
  else()
    install(FILES ${unit} DESTINATION ${systemd_dir}/system)
  endif()
endforeach()

# Completions come from the program itself, so they cannot be out of date.
if(TARGET syncctl AND NOT CMAKE_CROSSCOMPILING AND NOT HOLDFAST_FUZZ)
  set(completions ${CMAKE_BINARY_DIR}/completions)
  file(MAKE_DIRECTORY ${completions})
  add_custom_command(
    OUTPUT ${completions}/syncctl ${completions}/_syncctl
    COMMAND sh -c "'$<TARGET_FILE:syncctl>' completion bash >syncctl"
    COMMAND sh -c "'$<TARGET_FILE:syncctl>' completion zsh >_syncctl"
    WORKING_DIRECTORY ${completions} DEPENDS syncctl VERBATIM)
  add_custom_target(completions ALL
    DEPENDS ${completions}/syncctl ${completions}/_syncctl)
  install(FILES ${completions}/syncctl OPTIONAL
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${completions}/_syncctl OPTIONAL
    DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions)
endif()
# The licence is in `copyright`.
set(doc_dir ${CMAKE_INSTALL_DATADIR}/doc/holdfast)
install(FILES ${CMAKE_SOURCE_DIR}/README.md
  ${CMAKE_SOURCE_DIR}/packaging/debian/copyright DESTINATION ${doc_dir})
install_gzipped(${CMAKE_SOURCE_DIR}/packaging/debian/changelog
  changelog.Debian ${doc_dir})

# The user of the system unit; made when the package is configured.
install(FILES ${CMAKE_SOURCE_DIR}/packaging/sysusers/holdfast.conf
  DESTINATION lib/sysusers.d)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_SOURCE_DIR}/packaging/debian/postinst
  ${CMAKE_SOURCE_DIR}/packaging/debian/prerm
  ${CMAKE_SOURCE_DIR}/packaging/debian/postrm)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME holdfast)
set(CPACK_PACKAGE_VENDOR "Holdfast authors")
set(CPACK_PACKAGE_CONTACT "Holdfast authors <holdfast@localhost>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_SOURCE_DIR}/cmake/package_modes.cmake)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# The units reload with /bin/kill.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS procps)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
  "keeps folders the same on several machines, between its own nodes and with
every Syncthing: the daemon syncd and its command line syncctl.")
include(CPack)
