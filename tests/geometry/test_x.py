from tests import reference
def test_x(): assert reference.VALUE == 1
