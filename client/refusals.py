"""The stable codes with which a site says no, each with its fixed sentence: all a coordinator learns of an error."""

CODES: dict[str, tuple[int, str]] = {
    "malformed_request": (101, "The request is not one that this version understands."),
    "plan_not_approved": (102, "The plan is not the one that this site approved."),
    "data_not_ready": (103, "The site's data do not keep the plan's contract; the site's log says where."),
    "site_not_ready": (104, "The site's own settings are incomplete; the site's log says where."),
    "update_not_finite": (105, "Training gave values that are not finite; nothing was sent."),
    "nothing_to_train": (106, "The site has no training row with a label of this plan."),
    "cannot_record": (107, "The site could not write its own book, so nothing was sent."),
    "app_not_approved": (108, "The app that was shipped is not the one that is installed at this site."),
    "asked_too_often": (109, "The site has answered this step as often as it may, with different questions each time."),
    "too_few_patients": (110, "The site has fewer training patients than it takes to let a sum out."),
    "site_error": (199, "The site failed; its log has the story."),
}
