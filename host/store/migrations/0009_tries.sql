-- How often a record failed, by class of failure, since it was accepted or a person sent it again. JSON that the store does not look into.
ALTER TABLE records ADD COLUMN tries C_TEXT;
