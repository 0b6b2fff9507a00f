"""The recipes by name."""

from collections.abc import Mapping

from fleet_dagster.reference_models.carbon_validator import CARBON_VALIDATOR
from fleet_dagster.reference_models.cascade_detector import CASCADE_DETECTOR
from fleet_dagster.reference_models.dispatch_scheduler import DISPATCH_SCHEDULER
from fleet_dagster.reference_models.fault_classifier import FAULT_CLASSIFIER
from fleet_dagster.reference_models.maintenance_predictor import MAINTENANCE_PREDICTOR
from fleet_dagster.reference_models.power_point_optimizer import POWER_POINT_OPTIMIZER
from fleet_dagster.reference_models.recipe import Recipe

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        MAINTENANCE_PREDICTOR,
        POWER_POINT_OPTIMIZER,
        DISPATCH_SCHEDULER,
        FAULT_CLASSIFIER,
        CASCADE_DETECTOR,
        CARBON_VALIDATOR,
    )
}
