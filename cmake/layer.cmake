# Compiler settings, and the two functions by which every layer and its tests are declared.

add_library(holdfast_flags INTERFACE)
target_compile_options(holdfast_flags INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess> -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual
  $<$<BOOL:${HOLDFAST_WERROR}>:-Werror>)
target_include_directories(holdfast_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
if(HOLDFAST_SANITIZE)
  target_compile_options(holdfast_flags INTERFACE
    -fsanitize=${HOLDFAST_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(holdfast_flags INTERFACE -fsanitize=${HOLDFAST_SANITIZE})
endif()

# holdfast_layer(NAME USES layer... LINKS library... FOLDERS folder...): the static library of all
# src/NAME/*.cc, and of those in the folders below it that are named.
function(holdfast_layer name)
  cmake_parse_arguments(LAYER "" "" "USES;LINKS;FOLDERS" ${ARGN})
  list(TRANSFORM LAYER_FOLDERS REPLACE "(.+)" "${CMAKE_CURRENT_SOURCE_DIR}/\\1/*.cc")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc ${LAYER_FOLDERS})
  add_library(holdfast_${name} STATIC ${sources})
  list(TRANSFORM LAYER_USES PREPEND holdfast_)
  target_link_libraries(holdfast_${name} PUBLIC holdfast_flags ${LAYER_USES} ${LAYER_LINKS})
  if(name STREQUAL "base")
    target_precompile_headers(holdfast_base PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled.h)
  else()
    target_precompile_headers(holdfast_${name} REUSE_FROM holdfast_base)
  endif()
endfunction()

# holdfast_tests(NAME LINKS library... FOLDERS folder...): the test program of all tests/NAME/*_test.cc, one ctest test for each case.
function(holdfast_tests name)
  cmake_parse_arguments(TESTS "" "" "LINKS;FOLDERS" ${ARGN})
  list(TRANSFORM TESTS_FOLDERS REPLACE "(.+)" "${CMAKE_CURRENT_SOURCE_DIR}/\\1/*.cc")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc ${TESTS_FOLDERS})
  if(NOT sources)
    return()
  endif()
  add_executable(${name}_test ${sources})
  target_include_directories(${name}_test PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  if(name STREQUAL "base")
    target_precompile_headers(base_test PRIVATE ${PROJECT_SOURCE_DIR}/cmake/precompiled.h
                              <gmock/gmock.h> <gtest/gtest.h>)
  else()
    target_precompile_headers(${name}_test REUSE_FROM base_test)
  endif()
  target_link_libraries(${name}_test PRIVATE holdfast_${name} ${TESTS_LINKS} GTest::gmock GTest::gtest_main)
  gtest_discover_tests(${name}_test TEST_PREFIX ${name}. DISCOVERY_TIMEOUT 60)
endfunction()
