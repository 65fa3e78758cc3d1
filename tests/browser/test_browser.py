"The browser itself: a page is drawn, a click reaches it, and WebGL, which the scenes need, is there."


def test_a_click_reaches_a_page(open_page, faults, tmp_path):
    (tmp_path/'page.html').write_text('<button onclick="document.title = 7">seven</button>', encoding='utf-8')
    page = open_page((tmp_path/'page.html').as_uri())
    page.get_by_role('button', name='seven').click()
    assert page.title() == '7'
    assert page.evaluate("document.createElement('canvas').getContext('webgl2') !== null")
    assert not faults
