# rq_library(<folder> [dependency]... [TESTS dependency...])
#
# Makes src/<folder> one static library, rq_<folder> (a slash becomes _), from the files that are
# there; what stands behind TESTS is for its tests and benchmarks only:
#   *.cpp          the library
#   *_rig.cpp      what the tests share
#   *_test.cpp     all in one program, rq_<folder>_test; every gtest case is a ctest of its own
#   *_bench.cpp    all in one program, rq_<folder>_bench (Google Benchmark)
#   *_fuzz.cpp     one program each, named as the file. In the fuzz preset it is a libFuzzer
#                  target; otherwise it replays test/seeds/<name>/ as a ctest.
# A subfolder is a library of its own. New files need no edit: the next build finds them.
# A folder of headers and tests alone is an INTERFACE library.
function(rq_library folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "TESTS")
  set(dependencies ${arg_UNPARSED_ARGUMENTS})
  string(REPLACE / _ library rq_${folder})
  set(here ${PROJECT_SOURCE_DIR}/src/${folder})

  file(GLOB all CONFIGURE_DEPENDS ${here}/*.cpp)
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "_(test|rig|bench|fuzz)\\.cpp$")
  foreach(kind test bench fuzz)
    set(${kind}_sources ${all})
    list(FILTER ${kind}_sources INCLUDE REGEX "_${kind}\\.cpp$")
  endforeach()

  # What tests share stands in rigs.
  set(rig_sources ${all})
  list(FILTER rig_sources INCLUDE REGEX "_rig\\.cpp$")

  if(sources)
    add_library(${library} STATIC ${sources})
    target_compile_options(${library} PRIVATE ${RQ_OF_ONE_PROGRAM})
    set(scope PUBLIC)
  else()
    add_library(${library} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_include_directories(${library} ${scope} ${PROJECT_SOURCE_DIR}/src)
  target_compile_definitions(${library} ${scope} RQ_VERSION="${PROJECT_VERSION}")
  target_link_libraries(${library} ${scope} ${dependencies})

  if(NOT BUILD_TESTING)
    return()
  endif()

  if(test_sources)
    add_executable(${library}_test ${test_sources} ${rig_sources})
    target_link_libraries(${library}_test PRIVATE ${library} ${arg_TESTS} GTest::gtest_main
                                                  GTest::gmock rapidcheck)
    # The library is tested as it ships; the tests themselves only have to be compiled soon.
    target_compile_options(${library}_test PRIVATE $<$<CONFIG:Release>:-O0;-U_FORTIFY_SOURCE>)
    # Tests find their data (golden files, transcripts) from the root of the tree.
    gtest_discover_tests(${library}_test
      TEST_PREFIX ${folder}.
      WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
      DISCOVERY_MODE PRE_TEST
      DISCOVERY_TIMEOUT 60
      PROPERTIES LABELS unit TIMEOUT 120)
  endif()

  if(bench_sources)
    add_executable(${library}_bench ${bench_sources})
    target_link_libraries(${library}_bench PRIVATE rq_malloc ${library} ${arg_TESTS}
                                                   benchmark::benchmark_main)
  endif()

  foreach(source ${fuzz_sources})
    cmake_path(GET source STEM name)
    set(seeds ${PROJECT_SOURCE_DIR}/test/seeds/${name})
    if(RQ_FUZZ)
      add_executable(${name} ${source})
      target_link_options(${name} PRIVATE -fsanitize=fuzzer)
      set_property(GLOBAL APPEND PROPERTY RQ_FUZZERS ${name})
    else()
      add_executable(${name} ${source} ${PROJECT_SOURCE_DIR}/cmake/replay_main.cpp)
      add_test(NAME fuzz.${name} COMMAND ${name} ${seeds})
      set_tests_properties(fuzz.${name} PROPERTIES LABELS fuzz TIMEOUT 120)
    endif()
    target_link_libraries(${name} PRIVATE ${library})
  endforeach()
endfunction()
