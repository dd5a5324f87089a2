# Tests that are not gtest: the lint, and the end-to-end programs.
if(NOT BUILD_TESTING)
  return()
endif()

if(RQ_FUZZ)
  get_property(fuzzers GLOBAL PROPERTY RQ_FUZZERS)
  add_custom_target(fuzzers DEPENDS ${fuzzers})
  file(WRITE ${PROJECT_BINARY_DIR}/fuzzers.txt "${fuzzers}")
endif()

# rq_lint_test(<name> <command>...): a check of the sources; the same in every preset, so the
# sanitizer runs leave it out (ctest -LE lint).
function(rq_lint_test name)
  add_test(NAME ${name} COMMAND ${ARGN} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS lint TIMEOUT 120)
endfunction()

rq_lint_test(layers ${Python3_EXECUTABLE} tools/check_layers)
rq_lint_test(layers_checker ${Python3_EXECUTABLE} tools/check_layers_test.py)
rq_lint_test(words ${Python3_EXECUTABLE} tools/check_words)
rq_lint_test(words_checker ${Python3_EXECUTABLE} tools/check_words_test.py)
rq_lint_test(sizes ${Python3_EXECUTABLE} tools/check_sizes)
rq_lint_test(sizes_checker ${Python3_EXECUTABLE} tools/check_sizes_test.py)
rq_lint_test(docs ${Python3_EXECUTABLE} tools/check_docs)
rq_lint_test(docs_checker ${Python3_EXECUTABLE} tools/check_docs_test.py)
rq_lint_test(fuzz_runner ${Python3_EXECUTABLE} tools/fuzz_test.py)
rq_lint_test(format tools/format --check)
rq_lint_test(tidy ${Python3_EXECUTABLE} tools/tidy)
# The first run reads every file with clang; later ones only what has changed.
set_tests_properties(tidy PROPERTIES TIMEOUT 3600 PROCESSORS 2)

# Every test/e2e/*_test.py is one test. It finds the binary in RQ_BIN. A line in the file
#   # ctest-timeout: 900
# gives it more (or less) than 300 seconds, and
#   # ctest-alone
# runs it with nothing beside it (for what measures time), and
#   # ctest-unless: sanitizers
# leaves it out of the builds in which what it needs is not built. One that cannot run here ends with
# rqtest.SKIPPED.
file(GLOB e2e_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/test/e2e/*_test.py)
if(TARGET rq)
  foreach(file ${e2e_tests})
    cmake_path(GET file STEM name)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(STRINGS ${file} asked REGEX "^# ctest-(timeout: [0-9]+|alone|unless: sanitizers)")
    set(timeout 300)
    set(alone OFF)
    set(built ON)
    foreach(line ${asked})
      if(line MATCHES "timeout: ([0-9]+)")
        set(timeout ${CMAKE_MATCH_1})
      elseif(line MATCHES "unless")
        if(RQ_SANITIZE)
          set(built OFF)
        endif()
      else()
        set(alone ON)
      endif()
    endforeach()
    if(NOT built)
      continue()
    endif()
    add_test(NAME e2e.${name} COMMAND ${Python3_EXECUTABLE} ${file}
             WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
    set_tests_properties(e2e.${name} PROPERTIES
      LABELS e2e TIMEOUT ${timeout} RUN_SERIAL ${alone} SKIP_RETURN_CODE 77
      ENVIRONMENT
        "RQ_BIN=$<TARGET_FILE:rq>;RQ_SANITIZE=${RQ_SANITIZE};PYTHONDONTWRITEBYTECODE=1")
  endforeach()
endif()
