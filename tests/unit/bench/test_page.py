from bench.page import PAGE, render


def test_the_benchmarks_page_says_what_the_kept_results_say():
    assert PAGE.read_text() == render(), "run make bench-page"
