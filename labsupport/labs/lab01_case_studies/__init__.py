"""Lab 01: networks as tables and towers, a chain to rebuild, accuracy against cost."""

from labsupport.labs.lab01_case_studies.anatomy import (
    accuracy_panel,
    design_panel,
    layers_panel,
)
from labsupport.labs.lab01_case_studies.four_tasks import (
    applications,
    dense_picture,
    detected,
    scene,
    segmented,
    tasks_panel,
)
from labsupport.labs.lab01_case_studies.reading import (
    readers_compared,
    reading_panel,
    train_reader,
)
