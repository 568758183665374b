"""The OMOP Common Data Model: its tables as data, and the SQL that turns them into events. Runs nothing itself."""
