import unittest

import pytest
from catalogue import Catalogue


class CatalogueTest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def service(self, indexjob_simulator, indexjob_clock):
        self.simulator, self.clock = indexjob_simulator, indexjob_clock

    def setUp(self):
        self.catalogue = Catalogue("any")

    def test_failed_files_are_counted(self):
        self.simulator.plan("partial", failed_items=2)
        self.assertEqual(self.catalogue.index("products"), 2)

    def test_every_good_end_returns(self):
        for scenario in ("completed", "no-changes"):
            with self.subTest(scenario):
                self.simulator.plan(scenario)
                self.assertEqual(self.catalogue.index(f"base of {scenario}"), 0)

    def test_a_failed_job_raises(self):
        self.simulator.plan("failed")
        with self.assertRaisesRegex(RuntimeError, "FAILED"):
            self.catalogue.index("products")

    def test_a_job_that_hangs_is_given_up(self):
        self.simulator.plan("stuck")
        with self.assertRaises(TimeoutError):
            self.catalogue.index("products")
        self.assertGreaterEqual(self.clock.elapsed, 3600)

    def test_a_busy_service_is_asked_again(self):
        for fault in ("rate-limit", "bad-gateway"):
            self.simulator.inject(fault)
        self.simulator.plan("completed")
        self.assertEqual(self.catalogue.index("products"), 0)
