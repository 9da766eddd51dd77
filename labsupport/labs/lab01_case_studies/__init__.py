"""Lab 01: networks as tables and towers, a chain to rebuild, accuracy against cost."""

from labsupport.labs.lab01_case_studies.anatomy import (
    accuracy_panel,
    comparison,
    design_panel,
    layer_table,
    layers_panel,
    totals,
)
from labsupport.labs.lab01_case_studies.four_tasks import (
    applications,
    dense_picture,
    detected,
    located,
    scene,
    segmented,
    tasks_panel,
)
from labsupport.labs.lab01_case_studies.reading import (
    confusion,
    curves,
    mistakes,
    readers_compared,
    reading_panel,
    train_reader,
)
