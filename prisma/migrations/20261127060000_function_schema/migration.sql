-- What is changed by hand, from a session whose search path leads elsewhere, is heard as well: the triggers' functions look where the tables are.
ALTER FUNCTION "holdfast_session_changed"() SET search_path FROM CURRENT;
ALTER FUNCTION "holdfast_session_deleted"() SET search_path FROM CURRENT;
ALTER FUNCTION "holdfast_user_ended"() SET search_path FROM CURRENT;
ALTER FUNCTION "holdfast_user_changed"() SET search_path FROM CURRENT;
