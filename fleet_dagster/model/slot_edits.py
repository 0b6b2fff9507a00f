"""Edits of a fleet's AI slots: pure functions from one version of its settings to the next."""

from typing import Any

from fleet_dagster.model.config import HotSettings
from fleet_dagster.model.errors import ModelError
from fleet_dagster.model.slots import AIModelSlot


def put_slot(settings: HotSettings, slot: AIModelSlot) -> HotSettings:
    """Register a model in a slot that is free.

    Parameters
    ----------
    settings : HotSettings
        Settings to start from.
    slot : AIModelSlot
        The slot.

    Returns
    -------
    HotSettings
        The settings with it.

    Raises
    ------
    ModelError
        The slot holds a model already.
    """
    taken = {one.slot_id: one.model_id for one in settings.ai_models}
    if slot.slot_id in taken:
        raise ModelError(
            f"slot {slot.slot_id}",
            f"holds model {taken[slot.slot_id]!r}",
            "Update it, remove it first, or choose another slot",
        )
    return _with(settings, [*settings.ai_models, slot])


def change_slot(settings: HotSettings, slot_id: int, **changes: Any) -> HotSettings:
    """Change some fields of a registered slot.

    Parameters
    ----------
    settings : HotSettings
        Settings to start from.
    slot_id : int
        The slot.
    **changes : Any
        Fields and their new values.

    Returns
    -------
    HotSettings
        The settings with the slot changed; limits are checked with the whole configuration.

    Raises
    ------
    ModelError
        No model is registered there.
    """
    slot = registered(settings, slot_id)
    changed = slot.model_copy(update=changes)
    return _with(settings, [changed if one is slot else one for one in settings.ai_models])


def remove_slot(settings: HotSettings, slot_id: int) -> HotSettings:
    """Take the model out of a slot.

    Parameters
    ----------
    settings : HotSettings
        Settings to start from.
    slot_id : int
        The slot.

    Returns
    -------
    HotSettings
        The settings without it.

    Raises
    ------
    ModelError
        No model is registered there.
    """
    slot = registered(settings, slot_id)
    return _with(settings, [one for one in settings.ai_models if one is not slot])


def registered(settings: HotSettings, slot_id: int) -> AIModelSlot:
    """Return a registered slot; raises ModelError where there is none."""
    found = [one for one in settings.ai_models if one.slot_id == slot_id]
    if not found:
        known = ", ".join(str(one.slot_id) for one in settings.ai_models) or "none"
        raise ModelError(
            f"slot {slot_id}", f"holds no model (registered: {known})", "See `fleet slots list`"
        )
    return found[0]


def _with(settings: HotSettings, slots: list[AIModelSlot]) -> HotSettings:
    ordered = tuple(sorted(slots, key=lambda one: one.slot_id))
    return settings.model_copy(update={"ai_models": ordered})
